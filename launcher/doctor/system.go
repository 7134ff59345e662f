package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func (f *Facts) limits() {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		f.OpenFiles = r.Max // Go raises the soft limit to it
	}
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &r) == nil {
		f.Locked = r.Cur
	}
}

// memory reads the kernel's account of memory.
func memory(path string) Room {
	f, err := os.Open(path)
	if err != nil {
		return Room{Err: err.Error()}
	}
	defer f.Close() //nolint:errcheck // only read
	var r Room
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var kib uint64
		if _, err := fmt.Sscanf(lines.Text(), "MemTotal: %d kB", &kib); err == nil {
			r.Total = kib << 10
		}
		if _, err := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); err == nil {
			r.Free = kib << 10
		}
	}
	if r.Total == 0 {
		r.Err = path + " has no MemTotal"
	}
	return r
}

// room is that of a folder's file system, for users other than root.
func room(path string) Room {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Room{Err: fmt.Sprintf("%s: %v", path, err)}
	}
	block := uint64(s.Frsize)
	return Room{Free: s.Bavail * block, Total: s.Blocks * block}
}

// existing is the nearest ancestor of path that exists: what is to be made will be made there.
func existing(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return "."
	}
	for {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || path == "/" {
			return path
		}
		path = filepath.Dir(path)
	}
}

// list joins texts for a line.
func list(texts []string) string { return strings.Join(texts, ", ") }
