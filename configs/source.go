package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// DemoPrefix starts a model or a dataset that gorun brings itself, such as demo:squad.
const DemoPrefix = "demo:"

var (
	hubID  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
	demoID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// source checks where a model, data or an adapter comes from: a path that exists, demo:NAME, or what can
// be a Hub id. extensions are those of files, so that a missing data.jsonl is not taken for an id.
func (c *checker) source(field, value, what string, extensions ...string) {
	if value == "" {
		c.fault(field, "missing; name %s: a path or a Hub id (ORG/NAME)", what)
		return
	}
	if name, ok := strings.CutPrefix(value, DemoPrefix); ok {
		if !demoID.MatchString(name) {
			c.fault(field, "%q is no name of a demo; it is like demo:squad", clip(value))
		}
		return
	}
	if _, err := os.Stat(value); err == nil {
		return
	}
	isPath := strings.HasPrefix(value, "/") || strings.HasPrefix(value, ".") || strings.HasPrefix(value, "~") ||
		strings.HasSuffix(value, "/") || slices.Contains(extensions, strings.ToLower(filepath.Ext(value)))
	if isPath {
		c.exists(field, value, "paths are relative to the working directory")
		return
	}
	if len(value) > 96 || !hubID.MatchString(value) {
		c.fault(field, "%q is neither a path that exists nor a Hub id (ORG/NAME)", clip(value))
	}
}

// exists checks that a path is there; hint says what else could be written.
func (c *checker) exists(field, path, hint string) {
	_, err := os.Stat(path)
	switch {
	case err == nil:
	case strings.HasPrefix(path, "~"):
		c.fault(field, "%q: a recipe does not expand ~; write the whole path", clip(path))
	case errors.Is(err, fs.ErrNotExist):
		c.fault(field, "%q does not exist; %s", clip(path), hint)
	default:
		c.fault(field, "%q: %v", clip(path), err)
	}
	if err != nil {
		c.faults[len(c.faults)-1].cause = err
	}
}

// folder checks that nothing but a folder is where one will be written to.
func (c *checker) folder(field, path string) {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		c.fault(field, "%q is a file; name a folder, there or not", clip(path))
	case errors.Is(err, syscall.ENOTDIR):
		c.fault(field, "%q lies below a file; name another folder", clip(path))
	}
}

// MockPrefix begins the names of models with random weights, for measuring speed.
const MockPrefix = "mock:"
