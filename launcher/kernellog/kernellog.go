// Package kernellog reads the kernel's log: what the system did to processes and devices, and why.
package kernellog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Path is where Linux has its log. Reading it may be a privilege.
const Path = "/dev/kmsg"

// maxRecords bounds what is read: more than the kernel keeps.
const maxRecords = 1 << 16

// Record is one message.
type Record struct {
	At   time.Duration // since the system started
	Text string        // its first line
}

// Read returns the messages that the kernel still has, oldest first.
func Read(path string) ([]Record, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("the kernel's log %s: %w", path, err)
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	var out []Record
	buf := make([]byte, 8192) // the kernel's longest record; each read gives one
	for range maxRecords {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EPIPE): // records were overwritten meanwhile; the next read goes on after them
			continue
		case errors.Is(err, unix.EAGAIN) || err == nil && n == 0:
			return out, nil
		case err != nil:
			return out, fmt.Errorf("the kernel's log %s: %w", path, err)
		}
		if r, ok := parse(string(buf[:n])); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// parse reads a record: "PRIORITY,NUMBER,MICROSECONDS,FLAGS[,...];TEXT\n", and lines of properties.
func parse(record string) (Record, bool) {
	head, text, ok := strings.Cut(record, ";")
	fields := strings.Split(head, ",")
	if !ok || len(fields) < 4 {
		return Record{}, false
	}
	us, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || us < 0 || us > int64(1<<62)/1000 {
		return Record{}, false
	}
	text, _, _ = strings.Cut(text, "\n")
	return Record{time.Duration(us) * time.Microsecond, text}, true
}

// Now is the time by which records are dated.
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // Linux always has this clock
	}
	return time.Duration(t.Nano())
}

// Xid tells whether the record is NVIDIA's driver on an error of a GPU.
func (r Record) Xid() bool { return strings.HasPrefix(r.Text, "NVRM: Xid") }

// OutOfMemory tells whether the record is of the process being killed for want of memory, the machine's or its cgroup's.
func (r Record) OutOfMemory(pid int) bool {
	_, after, ok := strings.Cut(r.Text, "ut of memory: Killed process ") // "Out of memory", "Memory cgroup out of memory"
	if !ok {
		return false
	}
	id, _, _ := strings.Cut(after, " ")
	return id == strconv.Itoa(pid)
}
