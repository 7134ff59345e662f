// Package devicetest opens the CPU device for tests and holds every test to giving its buffers back.
package devicetest

import (
	"os"
	"sync"
	"testing"

	"gorun/csrc/device"
)

var shared = sync.OnceValues(func() (*device.Client, error) {
	return device.Open(device.Config{Plugin: os.Getenv("PJRT_PLUGIN_LIBRARY_PATH")})
})

// Open returns the process's one CPU client, and fails the test if it ends with more live buffers than it began with.
func Open(t testing.TB) *device.Client {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	before := c.LiveBuffers()
	t.Cleanup(func() {
		if now := c.LiveBuffers(); now != before && !t.Failed() {
			t.Errorf("the test leaks %d device buffers", now-before)
		}
	})
	return c
}
