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
	r, t, err := read(path, overrides)
	if err != nil {
		return nil, err
	}
	if err := join(t.locate(r.check(nil))); err != nil {
		return nil, err
	}
	return r, nil
}

// LoadElsewhere is Load for a recipe that another machine will run: that files are not here is no fault.
func LoadElsewhere(path string, overrides []string) (*Recipe, error) {
	r, t, err := read(path, overrides)
	if err != nil {
		return nil, err
	}
	missing := func(f *Fault) bool { return errors.Is(f.cause, fs.ErrNotExist) }
	if err := join(t.locate(slices.DeleteFunc(r.check(nil), missing))); err != nil {
		return nil, err
	}
	return r, nil
}

// read finds the file or the shipped recipe.
func read(path string, overrides []string) (*Recipe, *tree, error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil, nil, fmt.Errorf("recipe %s is a folder; name the .toml file", path)
	}
	if ext := strings.ToLower(filepath.Ext(path)); err == nil && (ext == ".yaml" || ext == ".yml") {
		return nil, nil, fmt.Errorf("recipe %s: recipes are TOML, not YAML: write [model] for model:, and key = value, with strings in quotes, for key: value; "+
			"sections and keys have AutoModel's names, without _target_ (docs/recipe.md)", path)
	}
	if err == nil && info.Size() > maxRecipeBytes {
		return nil, nil, fmt.Errorf("recipe %s has %d bytes, more than the %d of any recipe; is this the right file?", path, info.Size(), maxRecipeBytes)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return loadShipped(path, overrides, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("recipe: %w", err)
	}
	return parse(path, data, overrides)
}

// loadShipped tries a path that does not exist as the name of a shipped recipe.
func loadShipped(path string, overrides []string, missing error) (*Recipe, *tree, error) {
	isName := path == filepath.Base(path)
	name := strings.TrimSuffix(filepath.Base(path), ".toml")
	text, err := Lookup(name)
	switch {
	case err == nil && isName:
		return parse(name+".toml (shipped)", text, overrides)
	case err == nil:
		return nil, nil, fmt.Errorf("recipe: %w; a recipe of that name is shipped with gorun: write %s", missing, name)
	case isName:
		return nil, nil, fmt.Errorf("no file %s, and %w", path, err)
	default:
		return nil, nil, fmt.Errorf("recipe: %w; shipped recipes are %s", missing, strings.Join(Names(), ", "))
	}
}

// Parse is Load for a recipe at hand; source names it in messages. Unknown keys, wrong types and wrong
// overrides are faults, to which those are joined that Validate finds in the rest. A recipe without such
// faults is not validated: one that was written elsewhere may name files that are not here.
func Parse(source string, data []byte, overrides []string) (*Recipe, error) {
	r, _, err := parse(source, data, overrides)
	return r, err
}

// parse is Parse, with what says where the recipe's values come from.
func parse(source string, data []byte, overrides []string) (*Recipe, *tree, error) {
	t, fault := parseTree(source, data)
	if fault != nil {
		return nil, nil, fault
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
		return r, t, nil
	}
	known := func(f *Fault) bool { return d.failed[f.Field] }
	return nil, nil, join(append(d.faults, t.locate(slices.DeleteFunc(r.check(d.failed), known))...))
}
