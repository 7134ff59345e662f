package csrc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gorun/csrc"
	"gorun/tools/skip"
)

// withDriver runs the test again in a process that finds the driver of testdata/libcuda.c, and returns what that is asked
// and what the process says; in the process itself it returns "" and true.
func withDriver(t *testing.T, flags ...string) (said string, inside bool) {
	t.Helper()
	const here = "GORUN_TEST_DRIVER"
	if os.Getenv(here) != "" {
		return "", true
	}
	if _, err := exec.LookPath("cc"); err != nil {
		skip.Because(t, "the driver without a GPU is compiled with a C compiler, and there is none")
	}
	dir := t.TempDir()
	flags = append(flags, "-shared", "-fPIC", "-o", filepath.Join(dir, "libcuda.so.1"), "testdata/libcuda.c")
	if out, err := exec.Command("cc", flags...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), here+"=1", "LD_LIBRARY_PATH="+dir)
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.SplitAfter(string(out), "\n")
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "cuda: "); ok {
			said += rest
		}
	}
	return said, false
}

// TestDriver: streams, marks and kernels are the calls of the driver that they should be, in the context of their device.
func TestDriver(t *testing.T) {
	said, inside := withDriver(t)
	if inside {
		driveGPU(t)
		return
	}
	want := `init 0
retain 17
enter 0x110
stream 1 -5
enter 0x110
enter 0x110
record 0x55 0x63
enter 0x110
wait 0x63 0x55 0
enter 0x110
set 1000 0 12 0x63
enter 0x110
enter 0x110
enter 0x110
retain 16
push 0x100
function k
attribute 8 128
pop
push 0x100
pop
enter 0x110
take 4096
enter 0x110
enter 0x110
enter 0x110
copy 7000 70000 16 0x63
copy 7010 70010 8 0x63
enter 0x110
enter 0x110
forget 70000
enter 0x110
give back 7000
enter 0x110
destroy stream 0x63
enter 0x110
destroy event 0x55
`
	if said != want {
		t.Errorf("the driver was asked\n%swant\n%s", said, want)
	}
}

// driveGPU is what TestDriver asks of the second of two GPUs, and of the first one.
func driveGPU(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	gpu, err := csrc.OpenCUDA(1)
	check(err)
	s, err := gpu.NewStream()
	check(err)
	m, err := gpu.NewMark()
	check(err)
	check(gpu.Record(m, s))
	check(gpu.Wait(s, m))
	check(gpu.Zero(0x1000, 12, s))
	for _, want := range []bool{false, true} {
		if passed, err := gpu.Passed(m); passed != want || err != nil {
			t.Errorf("passed: %t, %v, want %t", passed, err, want)
		}
	}
	if d, err := gpu.Between(m, m); fmt.Sprint(d) != "1.5ms" || err != nil {
		t.Errorf("between: %s, %v", d, err)
	}
	if arch, err := csrc.CUDAArch(0); arch != 90 || err != nil {
		t.Errorf("compute capability %d, %v", arch, err)
	}
	for range 2 { // the second time it is known
		check(csrc.LoadKernel(0, []byte("cubin"), "k", csrc.Launch{ID: 3, Grid: [2]int{1, 1}, Threads: 32, Shared: 128}))
	}
	refused(csrc.LoadKernel(0, []byte("no cubin"), "k", csrc.Launch{ID: 4}), "device kernel image is invalid")
	if !csrc.KernelKnown(3) || csrc.KernelKnown(4) {
		t.Errorf("known: %t, %t", csrc.KernelKnown(3), csrc.KernelKnown(4))
	}
	at, err := gpu.Take(4096)
	check(err)
	name, err := gpu.Export(at)
	check(err)
	there, err := gpu.Import(name)
	check(err)
	check(gpu.Copy([]csrc.Move{{Dst: at, Src: there, N: 16}, {Dst: at + 16, Src: there + 16, N: 8}}, s))
	_, err = gpu.Import(csrc.MemoryName{})
	refused(err, "map another process's memory: invalid device ordinal")
	check(gpu.Forget(there))
	check(gpu.GiveBack(at))
	check(gpu.DestroyStream(s))
	check(gpu.DestroyMark(m))
	_, err = csrc.OpenCUDA(2)
	refused(err, "find the device: invalid device ordinal")
	_, err = csrc.CUDAArch(2)
	refused(err, "find the GPU: invalid device ordinal")
}

// TestOldDriver: a driver that lacks a function is too old, whatever it is wanted for.
func TestOldDriver(t *testing.T) {
	if _, inside := withDriver(t, "-DOLD"); !inside {
		return
	}
	for range 2 {
		_, err := csrc.OpenCUDA(0)
		_, errArch := csrc.CUDAArch(0)
		for _, err := range []error{err, errArch} {
			if err == nil || !strings.Contains(err.Error(), "has no cuLaunchKernel: the NVIDIA driver is too old") {
				t.Errorf("got %v", err)
			}
		}
	}
}
