package ckpt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dustin/go-humanize"
)

// Names inside a checkpoint.
const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	recipeFile    = "recipe.toml"
	manifestFile  = "manifest.json"
)

// Names beside the checkpoints.
const (
	latestLink = "LATEST"
	lowestLink = "LOWEST_VAL"
	lockFile   = ".lock"
	tmpPrefix  = ".tmp-" // removed at Open
	oldPrefix  = ".old-" // a checkpoint set aside while another takes its name; see publish
)

// Limits on the small files.
const (
	maxManifestBytes = 1 << 20
	maxStateBytes    = 1 << 20
	maxRecipeBytes   = 8 << 20
)

// writeFile writes and syncs a new file.
func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// digestFile returns size and SHA-256 of a file; with sync its contents are on the disk afterwards.
func digestFile(path string, sync bool) (size int64, digest string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close() //nolint:errcheck // only read from
	h := sha256.New()
	size, err = io.CopyBuffer(struct{ io.Writer }{h}, f, make([]byte, 1<<20))
	if err == nil && sync {
		err = f.Sync()
	}
	return size, hex.EncodeToString(h.Sum(nil)), err
}

// syncDir makes names made, renamed and removed in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// setLink makes dir/link a symbolic link to target, a name in dir, in one step.
func setLink(dir, link, target string) error {
	tmp := filepath.Join(dir, tmpPrefix+link)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	path := filepath.Join(dir, link)
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(fmt.Errorf("%s must be a link that gorun may replace: %w", path, err), os.Remove(tmp))
	}
	return nil
}

// linkTarget returns the checkpoint in dir that a link points to, "" if there is no such link or it
// leads anywhere but to a checkpoint beside it.
func linkTarget(dir, link string) string {
	target, err := os.Readlink(filepath.Join(dir, link))
	if err != nil {
		return ""
	}
	target = filepath.Clean(target)
	if filepath.IsAbs(target) && filepath.Dir(target) == filepath.Clean(dir) {
		target = filepath.Base(target)
	}
	if _, _, ok := parseName(target); !ok {
		return ""
	}
	return target
}

// explain adds what to do to errors of the file system that a user can mend.
func explain(err error, dir string, bytes int64) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("no room in %s for a checkpoint of about %s: free space there, lower checkpoint.keep or "+
			"choose another checkpoint.dir; earlier checkpoints are as they were: %w", dir, humanize.IBytes(uint64(bytes)), err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written to: choose another checkpoint.dir or change its permissions: %w", dir, err)
	}
	return err
}
