package device_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gorun/csrc/device"
	"gorun/tools/skip"
)

// TestFaults: what a plugin without a device says becomes one line with what to do.
func TestFaults(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		skip.Because(t, "the plugin that fails is compiled with a C compiler, and there is none")
	}
	plugin := filepath.Join(t.TempDir(), "plugin.so")
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-o", plugin, "testdata/plugin.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for said, want := range map[string]string{
		"INTERNAL: CUDA driver version is insufficient for CUDA runtime version\nstack of XLA": "needs driver R580",
		"libcuda.so.1 has no cuLaunchKernel: the NVIDIA driver is too old":                     "needs driver R580",
		"no supported devices found for platform CUDA":                                         "CUDA_VISIBLE_DEVICES",
		"libcudnn.so.9: cannot open shared object file: No such file or directory":             "gorun setup --cuda",
		"CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered":                    "Xid",
	} {
		t.Setenv("FAULT", said)
		_, err := device.Open(device.Config{Plugin: plugin, CUDA: true})
		var fault *device.Fault
		first, _, _ := strings.Cut(said, "\n")
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), first) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", said, err, want)
		}
	}
	t.Setenv("FAULT", "something that nobody has seen yet")
	var fault *device.Fault
	if _, err := device.Open(device.Config{Plugin: plugin}); err == nil || errors.As(err, &fault) || !strings.Contains(err.Error(), "nobody has seen") {
		t.Errorf("got %v", err)
	}
}

// TestBrokenPlugin: a library that cannot be loaded is named, with what installs it.
func TestBrokenPlugin(t *testing.T) {
	_, err := device.Open(device.Config{Plugin: "testdata/plugin.c"})
	if err == nil || !strings.Contains(err.Error(), "plugin.c") {
		t.Errorf("got %v", err)
	}
}
