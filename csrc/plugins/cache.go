package plugins

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// CacheDir is the folder of everything that gorun can make or fetch again: $GORUN_CACHE, or gorun in the user's cache
// folder ($XDG_CACHE_HOME, ~/.cache). It need not exist.
func CacheDir() (string, error) {
	if dir := os.Getenv("GORUN_CACHE"); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return "", fmt.Errorf("plugins: GORUN_CACHE: %w", err)
		}
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("plugins: no cache folder: %w: set GORUN_CACHE", err)
	}
	return filepath.Join(dir, "gorun"), nil
}

// store is the part of the cache that holds installed items.
type store struct {
	dir   string // absolute
	items map[string]item
}

func defaultStore() (store, error) {
	dir, err := CacheDir()
	return store{filepath.Join(dir, "plugins"), pinned}, err
}

// manifest lists what an item's folder holds. It is written last, so a folder that has one is whole.
type manifest struct {
	Files []manifestFile `json:"files"`
}

type manifestFile struct {
	Path string `json:"path"` // slash-separated, in the folder
	Size int64  `json:"size"` // bytes
}

const manifestName = "manifest.json"

func writeManifest(dir string, files []manifestFile) error {
	b, err := json.MarshalIndent(manifest{files}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifestName), append(b, '\n'), 0o644)
}

// installed returns the path of the item's file, or an error that wraps ErrMissing if the item is not there, or not
// there whole: a file that is gone or whose size has changed counts as missing.
func (s store) installed(it item) (string, error) {
	dir := filepath.Join(s.dir, it.folder())
	if err := checkManifest(dir); err != nil {
		return "", fmt.Errorf("%w: %s is not installed (%w): run '%s'", ErrMissing, it.name, err, it.setup)
	}
	return filepath.Join(dir, filepath.FromSlash(it.file)), nil
}

func checkManifest(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err)
	}
	if len(m.Files) == 0 {
		return errors.New("the manifest is empty")
	}
	for _, f := range m.Files {
		local, err := filepath.Localize(f.Path)
		if err != nil {
			return fmt.Errorf("manifest: %q: %w", f.Path, err)
		}
		info, err := os.Stat(filepath.Join(dir, local))
		if err != nil {
			return err
		}
		if info.Size() != f.Size {
			return fmt.Errorf("%s has %d bytes, not the %d that were installed", filepath.Join(dir, local), info.Size(), f.Size)
		}
	}
	return nil
}
