package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	spoolHeld  = 1 << 20 // bytes that are held in memory before there is a file
	spoolWrite = 1 << 18 // bytes that are written at once
)

// spool takes bytes one behind the other, in memory while they are few and then in a file of a folder. The file has no
// name, so that a killed process leaves nothing of it; or, with a pattern, one by which it can be published.
type spool struct {
	dir     string // "" = the system's for temporary files
	pattern string // of os.CreateTemp; "" = no name
	size    int64
	held    []byte // not written yet; all of it while file is nil
	file    *os.File
	flawed  error // the first that a write gave
}

func (s *spool) write(b []byte) error {
	s.held = append(s.held, b...)
	s.size += int64(len(b))
	if s.file == nil && len(s.held) <= spoolHeld || s.file != nil && len(s.held) < spoolWrite {
		return s.flawed
	}
	return s.flush()
}

// flush writes what is held to the file.
func (s *spool) flush() error {
	if s.file == nil && s.flawed == nil {
		s.file, s.flawed = s.create()
	}
	if s.flawed == nil {
		_, s.flawed = s.file.Write(s.held)
	}
	s.held = s.held[:0]
	if s.flawed != nil {
		s.flawed = explainDisk(s.flawed, s.where(), s.size)
	}
	return s.flawed
}

func (s *spool) where() string {
	if s.dir == "" {
		return os.TempDir()
	}
	return s.dir
}

func (s *spool) create() (*os.File, error) {
	if s.pattern != "" {
		return os.CreateTemp(s.dir, s.pattern)
	}
	f, err := os.CreateTemp(s.dir, ".tokens-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// reader reads what has been written; nothing is written any more.
func (s *spool) reader() (io.ReaderAt, error) {
	if s.file == nil {
		return bytes.NewReader(s.held), s.flawed
	}
	err := s.flush()
	s.held = nil
	return s.file, err
}

// publish gives what reader reads a name in the spool's folder. It stays readable, whatever comes of it.
func (s *spool) publish(path string) error {
	f := s.file
	if f == nil { // it stays in memory, and goes to a file as well
		var err error
		if f, err = s.create(); err != nil {
			return err
		}
		_, err = f.Write(s.held)
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(err, os.Remove(f.Name()))
		}
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	s.pattern = "" // it is ours no more
	return nil
}

// close gives up what has been written, unless it has been published.
func (s *spool) close() error {
	s.held = nil
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.pattern != "" {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	return err
}

// explainDisk adds what to do to faults of the disk that tokens are kept on.
func explainDisk(err error, dir string, size int64) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("no room in %s for tokenised data, which came to %d MiB so far: free space there, or set GORUN_CACHE to a folder on another disk: %w", dir, size>>20, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("tokenised data cannot be kept in %s: mend the folder's permissions, or set GORUN_CACHE to another folder: %w", dir, err)
	}
	return fmt.Errorf("keep tokenised data in %s: %w", dir, err)
}
