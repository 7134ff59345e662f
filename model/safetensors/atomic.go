package safetensors

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// output is what replace needs of a file.
type output interface {
	io.Writer
	Sync() error
	Close() error
}

// createFunc creates a file that must not exist yet. Tests put a full disk here.
type createFunc func(path string) (output, error)

func createExclusive(path string) (output, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // less the umask, as any new file
}

// replace puts a file of size bytes at path, whole or not at all: fill writes a temporary file in the same
// folder, which is synced and renamed. On any error the temporary file is removed.
func replace(path string, size int64, create createFunc, fill func(io.Writer) error) (err error) {
	tmp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%016x.tmp", filepath.Base(path), rand.Uint64()))
	out, err := create(tmp)
	if err != nil {
		return explain(err, size)
	}
	defer func() {
		if err != nil {
			if gone := os.Remove(tmp); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
	}()
	w := bufio.NewWriterSize(out, 1<<20)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return explain(err, size)
	}
	return syncDir(filepath.Dir(path))
}

// explain adds what to do to the faults of a disk.
func explain(err error, size int64) error {
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("the disk is full: %d bytes are needed; nothing was written; free some space or choose another folder: %w", size, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the folder does not exist; create it first: %w", err)
	}
	return err
}

// syncDir makes a rename in a folder survive a power cut. File systems that cannot sync a folder say
// EINVAL or ENOTSUP; they keep renames in order by themselves or not at all.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}
