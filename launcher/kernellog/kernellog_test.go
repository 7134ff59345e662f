package kernellog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for record, want := range map[string]Record{
		"3,1234,5678,-;NVRM: Xid (PCI:0000:10:00): 79, pid=1\n SUBSYSTEM=pci\n": {5678 * time.Microsecond, "NVRM: Xid (PCI:0000:10:00): 79, pid=1"},
		"6,1,2,-,caller=T1;usb 1-1: new; device NVRM: Xid\n":                    {2 * time.Microsecond, "usb 1-1: new; device NVRM: Xid"},
		"nonsense":                       {},
		"3,1,x,-;text":                   {},
		"3,1,-5,-;text":                  {},
		"3,1;text":                       {},
		"":                               {},
		"3,1,9223372036854775807,-;text": {},
	} {
		if got, ok := parse(record); ok != (want != Record{}) || got != want {
			t.Errorf("%q: %+v, %t", record, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("3,1234,5678,-;NVRM: Xid (PCI:0000:10:00): 79, pid=1\n SUBSYSTEM=pci\n")
	f.Add("6,1,2,-;Out of memory: Killed process 12 (gorun) total-vm:1kB\n")
	f.Fuzz(func(t *testing.T, record string) {
		r, ok := parse(record)
		if !ok && r != (Record{}) || r.At < 0 {
			t.Errorf("%q: %+v, %t", record, r, ok)
		}
		if r.OutOfMemory(12) && r.OutOfMemory(123) {
			t.Errorf("%q is of two processes", record)
		}
	})
}

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		text     string
		pid      int
		xid, oom bool
	}{
		{"NVRM: Xid (PCI:0000:10:00): 79, pid=1", 1, true, false},
		{"usb 1-1: NVRM: Xid", 1, false, false},
		{"Out of memory: Killed process 12 (gorun) total-vm:1kB, anon-rss:2kB", 12, false, true},
		{"Memory cgroup out of memory: Killed process 12 (gorun) total-vm:1kB", 12, false, true},
		{"Out of memory: Killed process 123 (gorun)", 12, false, false},
		{"Out of memory: Killed process 12 (gorun)", 123, false, false},
	} {
		r := Record{Text: c.text}
		if r.Xid() != c.xid || r.OutOfMemory(c.pid) != c.oom {
			t.Errorf("%q of %d: Xid %t, out of memory %t", c.text, c.pid, r.Xid(), r.OutOfMemory(c.pid))
		}
	}
}

func TestNoLog(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no kernel log: %v", err)
	}
}
