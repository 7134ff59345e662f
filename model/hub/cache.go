package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folder is a repository's part of the cache.
type folder struct {
	dir   string // models--ORG--NAME
	locks string // .locks/models--ORG--NAME
	root  string // of the whole cache, for messages
}

func (c *Client) folder(r Repo) folder {
	return folder{filepath.Join(c.cfg.Cache, r.folder()), filepath.Join(c.cfg.Cache, ".locks", r.folder()), c.cfg.Cache}
}

func (f folder) blob(e Entry) string { return filepath.Join(f.dir, "blobs", e.etag()) }

func (f folder) snapshot(commit string) string { return filepath.Join(f.dir, "snapshots", commit) }

func (f folder) pointer(commit string, e Entry) string {
	return filepath.Join(f.snapshot(commit), filepath.FromSlash(e.Path))
}

// has tells whether a file of a snapshot is there, with the length that the listing gives.
func (f folder) has(commit string, e Entry) bool {
	info, err := os.Stat(f.pointer(commit, e))
	return err == nil && info.Mode().IsRegular() && info.Size() == e.Size
}

// readRef returns the commit that a revision was last seen at; a commit is itself. ok is false if the cache does not know.
func (f folder) readRef(revision string) (commit string, ok bool) {
	if commitPattern.MatchString(revision) {
		return revision, true
	}
	file, err := os.Open(filepath.Join(f.dir, "refs", filepath.FromSlash(revision)))
	if err != nil {
		return "", false
	}
	defer file.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(io.LimitReader(file, 64))
	commit = strings.TrimSpace(string(text))
	return commit, err == nil && commitPattern.MatchString(commit)
}

// writeRef keeps the commit of a revision. It writes only what is new: the cache may be read-only.
func (f folder) writeRef(revision, commit string) error {
	if known, ok := f.readRef(revision); ok && known == commit {
		return nil
	}
	return replaceFile(filepath.Join(f.dir, "refs", filepath.FromSlash(revision)), []byte(commit))
}

// point makes the snapshot's name of a blob: a relative link, so that the cache may be moved.
func (f folder) point(commit string, e Entry) error {
	path := f.pointer(commit, e)
	target, err := filepath.Rel(filepath.Dir(path), f.blob(e))
	if err != nil {
		return err
	}
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp := besides(path)
	if err := os.Symlink(target, tmp); err != nil {
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("the file system of %s has no symbolic links, which the cache is made of: set HF_HUB_CACHE to a folder on another: %w", f.root, err)
		}
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// besides is a new name in a path's folder.
func besides(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%08x.tmp", filepath.Base(path), rand.Uint32()))
}

// replaceFile puts a small file in its place, whole or not at all.
func replaceFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { // less the umask, like all of the cache
		return err
	}
	tmp := besides(path)
	err := os.WriteFile(tmp, text, 0o666)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		if gone := os.Remove(tmp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	return err
}

// explainDisk adds what to do to faults of the cache's disk.
func (f folder) explainDisk(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w in %s: make room, or set HF_HUB_CACHE to a folder on another disk; what has arrived is kept, and the next try goes on from there: %w", ErrNoSpace, f.root, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("the cache %s cannot be written to: mend its permissions, or set HF_HUB_CACHE to another folder: %w", f.root, err)
	}
	return err
}
