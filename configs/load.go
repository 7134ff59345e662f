package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads a recipe file, or a shipped recipe by its name if there is no such file, applies overrides
// ("section.key=value") over it, and validates it. All faults are *Fault values joined in one error, so
// that a user sees everything at once.
func Load(path string, overrides []string) (*Recipe, error) {
	r, err := read(path, overrides)
	if err != nil {
		return nil, err
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// LoadElsewhere is Load for a recipe that another machine will run: that files are not here is no fault.
func LoadElsewhere(path string, overrides []string) (*Recipe, error) {
	r, err := read(path, overrides)
	if err != nil {
		return nil, err
	}
	missing := func(f *Fault) bool { return errors.Is(f.cause, fs.ErrNotExist) }
	if err := join(slices.DeleteFunc(r.check(nil), missing)); err != nil {
		return nil, err
	}
	return r, nil
}

// read finds the file or the shipped recipe.
func read(path string, overrides []string) (*Recipe, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, fmt.Errorf("recipe %s is a folder; name the .toml file", path)
	}
	if err == nil && info.Size() > maxRecipeBytes {
		return nil, fmt.Errorf("recipe %s has %d bytes, more than the %d of any recipe; is this the right file?", path, info.Size(), maxRecipeBytes)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return loadShipped(path, overrides, err)
	}
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return Parse(path, data, overrides)
}

// loadShipped tries a path that does not exist as the name of a shipped recipe.
func loadShipped(path string, overrides []string, missing error) (*Recipe, error) {
	isName := path == filepath.Base(path)
	name := strings.TrimSuffix(filepath.Base(path), ".toml")
	text, err := Lookup(name)
	switch {
	case err == nil && isName:
		return Parse(name+".toml (shipped)", text, overrides)
	case err == nil:
		return nil, fmt.Errorf("recipe: %w; a recipe of that name is shipped with gorun: write %s", missing, name)
	case isName:
		return nil, fmt.Errorf("no file %s, and %w", path, err)
	default:
		return nil, fmt.Errorf("recipe: %w; shipped recipes are %s", missing, strings.Join(Names(), ", "))
	}
}

// Parse is Load for a recipe at hand; source names it in messages. Unknown keys, wrong types and wrong
// overrides are faults, to which those are joined that Validate finds in the rest. A recipe without such
// faults is not validated: one that was written elsewhere may name files that are not here.
func Parse(source string, data []byte, overrides []string) (*Recipe, error) {
	t, fault := parseTree(source, data)
	if fault != nil {
		return nil, fault
	}
	d := &decoder{tree: t, failed: make(map[string]bool)}
	for _, set := range overrides {
		if fault := t.override(set); fault != nil {
			d.faults = append(d.faults, fault)
			d.failed[fault.Field] = true
		}
	}
	r := Default()
	d.recipe(r)
	if len(d.faults) == 0 {
		return r, nil
	}
	faults := d.faults
	for _, f := range r.check(d.failed) {
		if !d.failed[f.Field] {
			faults = append(faults, f)
		}
	}
	return nil, join(faults)
}
