package launcher

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gorun/launcher/kernellog"
	"gorun/tools/skip"
)

// cgroupEnv names the cgroup, which has little memory, that a hungry rank goes into.
const cgroupEnv = "GORUN_TEST_CGROUP"

// starve takes more memory than the cgroup has.
func starve() {
	pid := []byte(strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(filepath.Join(os.Getenv(cgroupEnv), "cgroup.procs"), pid, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	b := make([]byte, 1<<30)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// smallCgroup makes a cgroup of 64 MiB that is removed after the test.
func smallCgroup(t *testing.T) string {
	t.Helper()
	for root, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		dir := filepath.Join(root, fmt.Sprintf("gorun-test-%d", os.Getpid()))
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		})
		if os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(64<<20)), 0o600) == nil {
			return dir
		}
	}
	skip.Because(t, "no cgroup with a limit of memory can be made here")
	return ""
}

// TestOutOfMemory has the kernel kill a rank for want of memory; the verdict says so in the kernel's words.
func TestOutOfMemory(t *testing.T) {
	if _, err := kernellog.Read(kernellog.Path); err != nil {
		skip.Because(t, err.Error())
	}
	c, _, _ := testConfig(t, "hungry=1", 2)
	t.Setenv(cgroupEnv, smallCgroup(t))
	line := verdictOf(t, Run(t.Context(), c, nil)).Line()
	for _, text := range []string{"rank 1 (pid ", "was killed by SIGKILL", "for want of memory: ", "ut of memory: Killed process "} {
		if !strings.Contains(line, text) {
			t.Errorf("the verdict is %q, want %q in it", line, text)
		}
	}
}
