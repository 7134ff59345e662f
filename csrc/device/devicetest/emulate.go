package devicetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
	"gorun/csrc/plugins"
	"gorun/tools/skip"
)

// emulating is the process's one client that can call kernels: the GPU, or the CPU with kernels compiled by c++, whose
// programs compile quickly rather than well.
var emulating = sync.OnceValues(func() (*device.Client, error) { return openHasty(emulate) })

// WithKernels is Open of a device that can call kernels: on the CPU they are emulated, and the test is skipped where there
// is no C++ compiler.
func WithKernels(t testing.TB) *device.Client {
	t.Helper()
	if _, err := exec.LookPath("c++"); err != nil && kind() == plugins.CPU {
		skip.Because(t, "kernels are emulated with a C++ compiler, and there is none")
	}
	return watched(t, emulating)
}

// emulate compiles a kernel for the CPU. Libraries stay in this user's folder for temporary files, by their numbers: the
// next test finds them.
func emulate(call kernels.Call) (library string, err error) {
	folder := filepath.Join(os.TempDir(), fmt.Sprint("gorun-emulated-kernels-", os.Getuid()))
	library = filepath.Join(folder, fmt.Sprintf("%s-%x.so", call.Name, call.ID()))
	if _, err := os.Stat(library); err == nil {
		return library, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(folder, "making-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	source, made := filepath.Join(work, "kernel.cpp"), filepath.Join(work, "kernel.so")
	if err := os.WriteFile(source, []byte(call.Emulated()), 0o600); err != nil {
		return "", err
	}
	cmd := exec.Command("c++", "-std=c++17", "-O1", "-shared", "-fPIC", "-Wno-unknown-pragmas", "-o", made, source)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return library, os.Rename(made, library)
}
