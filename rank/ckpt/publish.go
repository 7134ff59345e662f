package ckpt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// errNoExchange says that the file system or the kernel cannot exchange two names.
var errNoExchange = errors.New("names cannot be exchanged here")

// publish gives the finished folder tmp its name. A checkpoint that has the name already is exchanged
// with it and then removed. Where names cannot be exchanged the old one is set aside, the new one takes
// its place, and Open puts the old one back if the run dies between the two.
func (d *Dir) publish(tmp, name string) error {
	path := filepath.Join(d.path, name)
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Rename(tmp, path)
	case err == nil:
		err = exchange(tmp, path)
		if errors.Is(err, errNoExchange) {
			err = d.setAside(tmp, name)
		}
	}
	if err == nil {
		err = syncDir(d.path)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", path, err)
	}
	if err := os.RemoveAll(tmp); err != nil {
		d.warn(fmt.Sprintf("the replaced checkpoint of %s could not be removed: %v", name, err))
	}
	return nil
}

// setAside replaces a checkpoint where names cannot be exchanged.
func (d *Dir) setAside(tmp, name string) error {
	path, old := filepath.Join(d.path, name), filepath.Join(d.path, oldPrefix+name)
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(path, old); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Rename(old, path))
	}
	return os.RemoveAll(old)
}
