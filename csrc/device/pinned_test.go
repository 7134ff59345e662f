package device_test

import (
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// TestPinned: an array in page-locked host memory is not counted as the device's, comes back as it was, can be copied to
// the device more than once, and a copy outlives it.
func TestPinned(t *testing.T) {
	c := devicetest.Open(t)
	p := compile(t, c, addOne(false))
	before := c.Memory().InUse
	data := []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40} // 1 2 3 4
	host, err := c.UploadPinned(data, device.MakeShape(dtypes.Float32, 4))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Free()
	clear(data)
	if now := c.Memory().InUse; now != before {
		t.Errorf("it takes %d bytes of the device", now-before)
	}
	x, err := host.ToDevice()
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	y, err := host.ToDevice()
	if err != nil {
		t.Fatal(err)
	}
	defer y.Free()
	host.Free()
	out, err := p.Execute(x, y)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	sum, err := device.ToSlice[float32](out[0])
	if err != nil || !slices.Equal(sum, []float32{2, 4, 6, 8}) {
		t.Errorf("%v, %v", sum, err)
	}
	if _, err := c.UploadPinned(data[:4], device.MakeShape(dtypes.Float32, 4)); err == nil {
		t.Error("4 bytes were taken for 4 numbers")
	}
}
