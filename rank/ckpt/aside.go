package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// asidePrefix begins the names of the folders that SetAside fills.
const asidePrefix = "earlier."

// SetAside makes room for a run that goes on from the checkpoint at from ("" = from none): every other run's checkpoints,
// and this one's that were saved after from, are moved to a folder earlier.N of their own, links to them included, so that
// none is replaced, none counts for LOWEST_VAL, and none is removed as too old. It returns that folder and how many are in
// it; "" if there was nothing to move. A run that dies meanwhile leaves some of them where they were, all whole.
func (d *Dir) SetAside(from string) (folder string, moved int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("set earlier checkpoints aside: %w", explain(err, d.path, 0))
		}
	}()
	names, stays, err := d.abandoned(from)
	if err != nil || len(names) == 0 {
		return "", 0, err
	}
	if folder, err = d.newFolder(); err != nil {
		return "", 0, err
	}
	for _, link := range []string{latestLink, lowestLink} {
		if slices.Contains(names, linkTarget(d.path, link)) {
			if err := d.moveTo(folder, link); err != nil {
				return folder, 0, err
			}
		}
	}
	for _, name := range names {
		if err := d.moveTo(folder, name); err != nil {
			return folder, moved, err
		}
		moved++
	}
	if stays != "" {
		err = setLink(d.path, latestLink, stays)
	}
	return folder, moved, errors.Join(err, syncDir(folder), syncDir(d.path))
}

// abandoned lists the checkpoints that a run going on from the one at from does not build on; stays is from's own name if
// it is one of the folder's.
func (d *Dir) abandoned(from string) (names []string, stays string, err error) {
	entries, err := list(d.path)
	if err != nil {
		return nil, "", err
	}
	kept := int64(-1)
	if from != "" {
		here, err1 := os.Stat(d.path)
		there, err2 := os.Stat(filepath.Dir(from))
		if err := errors.Join(err1, err2); err != nil {
			return nil, "", err
		}
		i := slices.IndexFunc(entries, func(e entry) bool { return e.name == filepath.Base(from) })
		if i >= 0 && os.SameFile(here, there) {
			stays, kept = entries[i].name, entries[i].sequence
		}
	}
	for _, e := range entries {
		if e.sequence > kept {
			names = append(names, e.name)
		}
	}
	return names, stays, nil
}

// newFolder makes the first earlier.N that is not there.
func (d *Dir) newFolder() (string, error) {
	for n := 1; ; n++ {
		folder := filepath.Join(d.path, fmt.Sprintf("%s%d", asidePrefix, n))
		if err := os.Mkdir(folder, 0o755); !errors.Is(err, fs.ErrExist) {
			return folder, err
		}
	}
}

// moveTo moves what the folder of checkpoints has under a name; links lead to names beside them, there as here.
func (d *Dir) moveTo(folder, name string) error {
	return os.Rename(filepath.Join(d.path, name), filepath.Join(folder, name))
}
