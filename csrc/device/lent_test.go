package device_test

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// TestLend: a lent buffer has an address, is there at once, counts as memory until it is freed, and is nothing to download.
func TestLend(t *testing.T) {
	dev := devicetest.Open(t)
	shape := device.MakeShape(dtypes.Float32, 3, 2)
	before := dev.Memory().InUse
	b := dev.Lend(4096, shape)
	if at, err := b.Pointer(); err != nil || at != 4096 {
		t.Errorf("it is at %d (%v), want 4096", at, err)
	}
	if err := b.Await(); err != nil {
		t.Errorf("it is not there: %v", err)
	}
	if got := dev.Memory().InUse - before; got != int64(shape.Bytes()) {
		t.Errorf("it counts as %d bytes, want %d", got, shape.Bytes())
	}
	if err := b.Download(make([]byte, shape.Bytes())); err == nil || !strings.Contains(err.Error(), "3x2xf32: download of a buffer that is lent") {
		t.Errorf("download: %v", err)
	}
	b.Free()
	b.Free()
	if _, err := b.Pointer(); err == nil || !strings.Contains(err.Error(), "address of a freed buffer") {
		t.Errorf("when freed its address is: %v", err)
	}
	if got := dev.Memory().InUse; got != before {
		t.Errorf("when freed it counts as %d bytes", got-before)
	}
}
