package ckpt

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Spool holds the data of tensors that are to be saved in a file of the checkpoint folder, for a state that would not fit
// in memory: one tensor after the other is put there, and what stands for it is the file's own pages, which the system
// writes out and drops as it needs to. The file has no name, so a killed run leaves nothing of it.
type Spool struct {
	dir  string
	file *os.File
	size int64
	maps [][]byte
}

// Spool makes an empty one. Close it when the state has been saved.
func (d *Dir) Spool() (*Spool, error) {
	f, err := os.CreateTemp(d.path, tmpPrefix+"spool-*")
	if err != nil {
		return nil, fmt.Errorf("checkpoint folder: %w", explain(err, d.path, 0))
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("checkpoint folder: %w", err), f.Close())
	}
	return &Spool{dir: d.path, file: f}, nil
}

// Put writes data and returns it as it lies in the file: read-only, and valid until Close.
func (s *Spool) Put(data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if _, err := s.file.WriteAt(data, s.size); err != nil {
		return nil, fmt.Errorf("keep a tensor for the checkpoint: %w", explain(err, s.dir, s.size+int64(len(data))))
	}
	view, err := unix.Mmap(int(s.file.Fd()), s.size, len(data), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("keep a tensor for the checkpoint: map %d bytes: %w", len(data), err)
	}
	page := int64(os.Getpagesize()) // a view begins with a page
	s.size += (int64(len(data)) + page - 1) / page * page
	s.maps = append(s.maps, view)
	return view, nil
}

// Close gives the file and all views up.
func (s *Spool) Close() error {
	var errs []error
	for _, m := range s.maps {
		errs = append(errs, unix.Munmap(m))
	}
	s.maps = nil
	return errors.Join(append(errs, s.file.Close())...)
}
