package ckpt

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gorun/model/export"
)

// ErrNotWhole says that a folder is not a whole checkpoint: it was not finished, or files in it are
// missing or changed.
var ErrNotWhole = errors.New("not a whole checkpoint")

// manifest is manifest.json: written last, so that a folder with it had all its files, and naming what
// each must be, so that one that lost or changed something is found out.
type manifest struct {
	Format   int             `json:"format"`
	Sequence int64           `json:"sequence"` // 1 more than the highest in the folder when it was saved
	Files    []manifestEntry `json:"files"`
}

type manifestEntry struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hexadecimal
}

const maxManifestFiles = 4096

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// makeManifest digests and syncs every file in a folder that is about to be published.
func makeManifest(dir string, sequence int64) (*manifest, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	m := &manifest{Format: formatVersion, Sequence: sequence}
	for _, e := range entries {
		size, digest, err := digestFile(filepath.Join(dir, e.Name()), true)
		if err != nil {
			return nil, err
		}
		m.Files = append(m.Files, manifestEntry{e.Name(), size, digest})
	}
	return m, nil
}

func (m *manifest) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", manifestFile, err)
	}
	return append(data, '\n'), nil
}

// parseManifest reads manifest.json and reports all its faults joined.
func parseManifest(data []byte) (*manifest, error) {
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if err := checkFormat(m.Format); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if len(m.Files) > maxManifestFiles {
		return nil, fmt.Errorf("%s: %d files, at most %d are read", manifestFile, len(m.Files), maxManifestFiles)
	}
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", manifestFile, fmt.Errorf(format, args...)))
	}
	names := map[string]bool{}
	for _, f := range m.Files {
		if !plainName(f.Name) || f.Name == manifestFile || names[f.Name] {
			bad("%q cannot be the name of a file", f.Name)
		}
		names[f.Name] = true
		if f.Size < 0 {
			bad("size of %q is %d", f.Name, f.Size)
		}
		if !digestPattern.MatchString(f.SHA256) {
			bad("sha256 of %q is %q", f.Name, f.SHA256)
		}
	}
	for _, name := range []string{stateFile, optimizerFile, recipeFile} {
		if !names[name] {
			bad("%s is not listed", name)
		}
	}
	if m.Sequence < 1 {
		bad("sequence is %d, want 1 or more", m.Sequence)
	}
	return m, errors.Join(faults...)
}

// plainName says that a name stays in its folder and is not one of gorun's hidden ones.
func plainName(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\\\x00") && len(name) < 256
}

// readManifest reads a checkpoint's manifest and compares the sizes of all files with it. Its errors
// are ErrNotWhole, but for files that could not be looked at.
func readManifest(path string) (*manifest, error) {
	data, err := export.ReadBounded(filepath.Join(path, manifestFile), maxManifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no %s", ErrNotWhole, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotWhole, err)
	}
	var faults []error
	for _, f := range m.Files {
		info, err := os.Stat(filepath.Join(path, f.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			faults = append(faults, fmt.Errorf("%w: %s is missing", ErrNotWhole, f.Name))
		case err != nil:
			faults = append(faults, err)
		case !info.Mode().IsRegular():
			faults = append(faults, fmt.Errorf("%w: %s is not a file", ErrNotWhole, f.Name))
		case info.Size() != f.Size:
			faults = append(faults, fmt.Errorf("%w: %s has %d bytes, %d were saved", ErrNotWhole, f.Name, info.Size(), f.Size))
		}
	}
	return m, errors.Join(faults...)
}

// verify reads every file of a checkpoint and compares it with the manifest.
func verify(path string) (*manifest, error) {
	m, err := readManifest(path)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, f := range m.Files {
		_, digest, err := digestFile(filepath.Join(path, f.Name), false)
		if err != nil {
			faults = append(faults, err)
		} else if digest != f.SHA256 {
			faults = append(faults, fmt.Errorf("%w: %s is not what was saved (sha256 %s, want %s)", ErrNotWhole, f.Name, digest, f.SHA256))
		}
	}
	return m, errors.Join(faults...)
}

func (m *manifest) has(name string) bool {
	for _, f := range m.Files {
		if f.Name == name {
			return true
		}
	}
	return false
}
