package ckpt

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// exchange makes two names change places in one step; errNoExchange where that is not to be had.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EXDEV):
		return errNoExchange
	}
	return fmt.Errorf("exchange %s and %s: %w", a, b, err)
}
