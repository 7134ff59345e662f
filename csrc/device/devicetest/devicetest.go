// Package devicetest opens the CPU device for tests and holds every test to giving its buffers back.
package devicetest

import (
	"sync"
	"testing"

	"gorun/csrc/device"
	"gorun/csrc/plugins"
)

var shared = sync.OnceValues(func() (*device.Client, error) {
	plugin, err := plugins.Find(plugins.CPU)
	if err != nil {
		return nil, err
	}
	return device.Open(device.Config{Plugin: plugin})
})

// Plugin returns the path of the CPU plugin.
func Plugin(t testing.TB) string {
	t.Helper()
	path, err := plugins.Find(plugins.CPU)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

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
