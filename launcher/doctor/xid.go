package doctor

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds of what is read of the kernel's log and kept of it.
const (
	maxRecords = 1 << 16
	maxXids    = 5
)

// xids returns the last errors of GPUs ("NVRM: Xid ...") in the kernel's log, as /dev/kmsg gives it: one record a read,
// its text after the first semicolon.
func xids(path string) ([]string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	var out []string
	buf := make([]byte, 8192) // the kernel's longest record
	for range maxRecords {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EPIPE): // records were overwritten meanwhile; the next read goes on after them
			continue
		case errors.Is(err, unix.EAGAIN) || err == nil && n == 0:
			return out, nil
		case err != nil:
			return out, err
		}
		if text, ok := xid(string(buf[:n])); ok {
			out = append(out, text)
			out = out[max(0, len(out)-maxXids):]
		}
	}
	return out, nil
}

// xid returns the text of a record about an Xid.
func xid(record string) (string, bool) {
	_, text, _ := strings.Cut(record, ";")
	text, _, _ = strings.Cut(text, "\n")
	return text, strings.HasPrefix(text, "NVRM: Xid")
}
