// Package devicetest opens a device for tests and holds every test to giving its buffers back. The device is the CPU,
// or, with GORUN_TEST_DEVICE=cuda, the first NVIDIA GPU.
package devicetest

import (
	"os"
	"sync"
	"testing"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
	"gorun/csrc/plugins"
	"gorun/tools/skip"
)

var shared = sync.OnceValues(func() (*device.Client, error) {
	plugin, err := plugins.Find(kind())
	if err != nil {
		return nil, err
	}
	return device.Open(device.Config{Plugin: plugin, CUDA: kind() == plugins.CUDA, CacheDir: executables})
})

// hastily makes XLA compile quickly rather than well: for tests of which most of the time is compilation.
var hastily = map[string]string{"xla_backend_optimization_level": "0"}

var hasty = sync.OnceValues(func() (*device.Client, error) { return openHasty(nil) })

// openHasty opens the CPU to compile hastily, with what compiles kernels for it; the GPU is the one that there is.
func openHasty(emulate func(kernels.Call) (library string, err error)) (*device.Client, error) {
	if kind() == plugins.CUDA {
		return shared()
	}
	plugin, err := plugins.Find(kind())
	if err != nil {
		return nil, err
	}
	return device.Open(device.Config{Plugin: plugin, CacheDir: executables, Flags: hastily, Emulate: emulate})
}

func kind() string {
	if os.Getenv("GORUN_TEST_DEVICE") == plugins.CUDA {
		return plugins.CUDA
	}
	return plugins.CPU
}

// GPU tells whether the device is one: for bounds that depend on it.
func GPU() bool { return kind() == plugins.CUDA }

// CPUOnly skips a test that is about the CPU when the tests run on another device.
func CPUOnly(t testing.TB) {
	t.Helper()
	if kind() != plugins.CPU {
		skip.Because(t, "it is about the CPU")
	}
}

// Config returns what opens the device of the tests.
func Config(t testing.TB) device.Config {
	t.Helper()
	return device.Config{Plugin: Plugin(t), CUDA: kind() == plugins.CUDA, CacheDir: executables}
}

// Plugin returns the path of the plugin.
func Plugin(t testing.TB) string {
	t.Helper()
	path, err := plugins.Find(kind())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Open returns the process's one client, and fails the test if it ends with more live buffers than it began with.
func Open(t testing.TB) *device.Client {
	t.Helper()
	return watched(t, shared)
}

// OpenHasty is Open of another client, one for the process too, whose programs are compiled hastily; on a GPU it is
// the same.
func OpenHasty(t testing.TB) *device.Client {
	t.Helper()
	return watched(t, hasty)
}

func watched(t testing.TB, open func() (*device.Client, error)) *device.Client {
	t.Helper()
	c, err := open()
	if err != nil {
		t.Fatal(err)
	}
	watch(t, c)
	return c
}

// watch fails the test if it ends with more live buffers than there are now.
func watch(t testing.TB, c *device.Client) {
	t.Helper()
	before := c.LiveBuffers()
	t.Cleanup(func() {
		if now := c.LiveBuffers(); now != before && !t.Failed() {
			t.Errorf("the test leaks %d device buffers", now-before)
		}
	})
}
