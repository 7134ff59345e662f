package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const lockPoll = 200 * time.Millisecond

// lock waits until this process alone downloads a blob on this node; waiting is called once if it has to wait. It is
// the lock of huggingface_hub, so it holds against Python too.
//
// The lock saves work; that the cache is right does not hang on it. On a file system whose flock lies, two processes
// write the same bytes at the same offsets of one file, each checks the hash of all that it wrote or found, and each
// renames it to the same name.
func (f folder) lock(ctx context.Context, e Entry, waiting func()) (unlock func() error, err error) {
	path := filepath.Join(f.locks, e.etag()+".lock")
	if err := os.MkdirAll(f.locks, 0o777); err != nil {
		return nil, err
	}
	for {
		l := flock.New(path, flock.SetPermissions(0o664)) // as huggingface_hub's: a cache may be shared by a group
		got, err := l.TryLock()
		if err == nil && !got {
			waiting()
			waiting = func() {}
			_, err = l.TryLockContext(ctx, lockPoll)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), l.Close())
		}
		if current(l, path) {
			return l.Close, nil
		}
		// Who held it before removed the file: what we hold, nobody else can see.
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
}

// current tells whether the locked file is still the one at path.
func current(l *flock.Flock, path string) bool {
	held, err := l.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(held, now)
}
