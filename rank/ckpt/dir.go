package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gorun/model/export"

	"github.com/gofrs/flock"
)

// ErrLocked says that another process saves into the same folder.
var ErrLocked = errors.New("another run saves into this folder")

// Dir is a run's checkpoint folder, opened for saving. One process holds it at a time: rank 0 of a run,
// for as long as the run lives. Reading (Resolve, Map, Load) needs no Dir.
//
// # How a checkpoint becomes visible
//
// Save writes into a folder .tmp-NAME, which no reader looks at: files first, then the manifest with the
// digest of each, all synced, then the folder itself. One rename publishes it under its name; the parent
// is synced; only then do the links move, each by renaming a new link over the old. So at any moment,
// after any kill or power cut:
//
//   - a folder named epoch_E_step_S has all of its files;
//   - LATEST leads to a whole checkpoint: the last published, or the one before it;
//   - what is half-written has a name that Open removes.
//
// A checkpoint whose name is taken (a resumed run saves the same step again) changes places with the old
// one by an atomic exchange, so the name is never without a whole checkpoint. Rejected: removing the old
// one first, which leaves a run with keep = 1 without any checkpoint for as long as removing takes.
type Dir struct {
	path string
	warn func(string)
	lock *flock.Flock

	mu     sync.Mutex // held by Save and Close
	closed bool       // protected by mu
}

// Open makes a checkpoint folder if there is none, takes it for this process, and clears what a killed
// run left half-written there. warn gets one line for each thing worth telling; nil drops them. It
// fails with ErrLocked if another process has the folder.
func Open(dir string, warn func(string)) (*Dir, error) {
	if warn == nil {
		warn = func(string) {}
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("checkpoint folder: %w", explain(err, path, 0))
	}
	d := &Dir{path: path, warn: warn, lock: flock.New(filepath.Join(path, lockFile), flock.SetPermissions(0o644))}
	got, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("checkpoint folder: lock: %w", explain(err, path, 0))
	}
	if !got {
		return nil, fmt.Errorf("checkpoint folder %s: %w (%s): stop it, or give this run a checkpoint.dir of its own",
			path, ErrLocked, holder(path))
	}
	if err := d.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("checkpoint folder %s: %w", path, err), d.lock.Close())
	}
	return d, nil
}

// holder says who holds the lock, as far as the lock file tells.
func holder(dir string) string {
	data, err := export.ReadBounded(filepath.Join(dir, lockFile), 256)
	if text := strings.TrimSpace(string(data)); err == nil && text != "" {
		return text
	}
	return "process unknown"
}

// start signs the lock, clears leftovers and mends the links.
func (d *Dir) start() error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if err := os.WriteFile(d.lock.Path(), fmt.Appendf(nil, "process %d on %s\n", os.Getpid(), host), 0o644); err != nil {
		return explain(err, d.path, 0)
	}
	if err := d.clean(); err != nil {
		return fmt.Errorf("clear what a killed run left: %w", explain(err, d.path, 0))
	}
	entries, err := list(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.err != nil {
			d.warn(fmt.Sprintf("checkpoint %s is ignored: %v", filepath.Join(d.path, e.name), e.err))
		}
	}
	if len(entries) == 0 || entries[0].err != nil {
		return nil
	}
	if latest := linkTarget(d.path, latestLink); latest == "" || !usable(entries, latest) {
		if err := setLink(d.path, latestLink, entries[0].name); err != nil {
			return explain(err, d.path, 0)
		}
		d.warn(fmt.Sprintf("%s now points to %s, the last checkpoint that is whole", latestLink, entries[0].name))
	}
	return nil
}

func usable(entries []entry, name string) bool {
	for _, e := range entries {
		if e.name == name {
			return e.err == nil
		}
	}
	return false
}

// clean removes half-written folders and puts back a checkpoint that was set aside when its run died.
func (d *Dir) clean() error {
	found, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, f := range found {
		path := filepath.Join(d.path, f.Name())
		name, aside := strings.CutPrefix(f.Name(), oldPrefix)
		if _, _, ok := parseName(name); aside && ok {
			_, err := os.Lstat(filepath.Join(d.path, name))
			if errors.Is(err, fs.ErrNotExist) {
				err = os.Rename(path, filepath.Join(d.path, name))
			} else if err == nil {
				err = os.RemoveAll(path)
			}
			if err != nil {
				return err
			}
		}
		if strings.HasPrefix(f.Name(), tmpPrefix) {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			d.warn(fmt.Sprintf("removed %s, which a killed run left unfinished", path))
		}
	}
	return nil
}

// Path returns the folder's absolute path.
func (d *Dir) Path() string { return d.path }

// Close gives the folder back. It waits for a Save in progress; Save fails afterwards.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if err := d.lock.Close(); err != nil {
		return fmt.Errorf("checkpoint folder %s: unlock: %w", d.path, err)
	}
	return nil
}
