package device_test

import (
	"slices"
	"testing"

	"github.com/gomlx/gopjrt/pjrt"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
)

// TestSecondClient runs one program through our binding and through gopjrt's, an independent client of the same plugin.
func TestSecondClient(t *testing.T) {
	devicetest.CPUOnly(t) // gopjrt looks for CUDA on its own
	c := devicetest.Open(t)
	src := addOne(false)
	p := compile(t, c, src)
	x, y := upload(t, c, 1, -2, 3.5, 4e20), upload(t, c, 10, 20, 30, 4e20)
	defer device.FreeAll([]*device.Buffer{x, y})
	out, err := p.Execute(x, y)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	ours, err := device.ToSlice[float32](out[0])
	if err != nil {
		t.Fatal(err)
	}

	plugin, err := pjrt.GetPlugin(devicetest.Plugin(t))
	if err != nil {
		t.Fatal(err)
	}
	client, err := plugin.NewClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Destroy() //nolint:errcheck // the test ends
	exec, err := client.Compile().WithStableHLO(src.Code).Done()
	if err != nil {
		t.Fatal(err)
	}
	var args []*pjrt.Buffer
	for _, v := range [][]float32{{1, -2, 3.5, 4e20}, {10, 20, 30, 4e20}} {
		b, err := pjrt.ArrayToBuffer(client, v, 4)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, b)
	}
	results, err := exec.Execute(args...).Done()
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := pjrt.BufferToArray[float32](results[0])
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ours, theirs) {
		t.Errorf("ours %v, gopjrt's %v", ours, theirs)
	}
}
