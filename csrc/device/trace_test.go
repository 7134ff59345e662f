package device_test

import (
	"bytes"
	"strings"
	"testing"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// TestTrace: a GPU's record has the device in it, and so has a second one; a CPU's plugin has no profiler and says so.
func TestTrace(t *testing.T) {
	c := devicetest.Open(t)
	if c.Platform() == "cpu" {
		if _, err := c.StartTrace(); err == nil || !strings.Contains(err.Error(), "trace cpu: start the profiler: this plugin has no profiler") {
			t.Errorf("got %v", err)
		}
		return
	}
	p := compile(t, c, addOne(false))
	for range 2 {
		recording, err := c.StartTrace()
		if err != nil {
			t.Fatal(err)
		}
		x, y := upload(t, c, 1, 2, 3, 4), upload(t, c, 1, 1, 1, 1)
		out, err := p.Execute(x, y)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := device.ToSlice[float32](out[0]); err != nil {
			t.Fatal(err)
		}
		device.FreeAll(out, []*device.Buffer{x, y})
		record, err := recording.Stop()
		if err != nil || !bytes.Contains(record, []byte("/device:GPU:0")) {
			t.Errorf("%d bytes, %v", len(record), err)
		}
	}
}
