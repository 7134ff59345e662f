package launcher

import (
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPinned: a process starts on the CPUs that it is given, and its parent's thread is where it was.
func TestPinned(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	last := -1
	for cpu := range 1024 {
		if before.IsSet(cpu) {
			last = cpu
		}
	}
	allowed := func(cpus ...int) string {
		t.Helper()
		var out []byte
		if err := pinned(cpus, func() (err error) {
			out, err = exec.Command("grep", "Cpus_allowed_list", "/proc/self/status").Output()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))[1]
	}
	if got := allowed(last, 1023); got != strconv.Itoa(last) {
		t.Errorf("the process may use CPUs %s, want %d", got, last)
	}
	if all, far := allowed(), allowed(1023); last != 1023 && all != far {
		t.Errorf("with CPUs that are not there it may use %s, want %s", far, all)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("the thread may use other CPUs than before (%v)", err)
	}
}
