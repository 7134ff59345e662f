// Package mapped maps files of tensors into memory.
package mapped

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Open maps a regular file read-only; suffix is what names of such files end with. An empty file gives an empty slice
// that is not mapped. Errors do not name the path; the caller does.
func Open(path, suffix string) ([]byte, error) {
	info, err := os.Stat(path) // before open: opening a named pipe would wait for a writer
	if err != nil {
		return nil, Bare(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is not a regular file (%s); name the %s file", info.Mode().Type(), suffix)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, Bare(err)
	}
	defer f.Close() // only read: nothing to lose
	if info, err = f.Stat(); err != nil {
		return nil, Bare(err)
	}
	size := info.Size()
	if size == 0 {
		return []byte{}, nil
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("%d bytes cannot be mapped on this machine", size)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes into memory: %w", size, err)
	}
	return data, nil
}

// Close undoes Open.
func Close(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if err := unix.Munmap(data); err != nil {
		return fmt.Errorf("unmap: %w", err)
	}
	return nil
}

// Bare strips the operation and path that os errors carry.
func Bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
