package doctor

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// tryFolder does with a small file what saving a checkpoint does with large ones.
func tryFolder(dir string) *Folder {
	f := &Folder{Path: dir}
	began := time.Now()
	written, err := roundTrip(dir)
	f.Took = time.Since(began)
	if err != nil {
		f.Err = err.Error()
		return f
	}
	// The file's time is the server's, on a network file system: between the two readings of ours.
	f.Ahead = began.Add(f.Took / 2).Sub(written).Round(time.Millisecond)
	return f
}

// roundTrip writes, syncs, renames and reads a file, and returns the time that it got.
func roundTrip(dir string) (written time.Time, err error) {
	want := make([]byte, 4096)
	if _, err := rand.Read(want); err != nil {
		return written, err
	}
	f, err := os.CreateTemp(dir, ".gorun-doctor-*")
	if err != nil {
		return written, fmt.Errorf("writing: %w", err)
	}
	path := f.Name()
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	_, err = f.Write(want)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return written, fmt.Errorf("writing: %w", err)
	}
	renamed := filepath.Join(dir, filepath.Base(path)+".renamed")
	if err := os.Rename(path, renamed); err != nil {
		return written, fmt.Errorf("renaming: %w", err)
	}
	path = renamed
	got, err := os.ReadFile(path)
	if err != nil {
		return written, fmt.Errorf("reading: %w", err)
	}
	if !bytes.Equal(got, want) {
		return written, errors.New("reading: the file has other contents than were written")
	}
	info, err := os.Stat(path)
	if err != nil {
		return written, err
	}
	return info.ModTime(), nil
}
