package device_test

import (
	"fmt"
	"strings"
	"testing"

	"gorun/csrc"
	"gorun/csrc/kernels"
	"gorun/tools/skip"
)

// calls are the kernels of the shapes that the code differs for.
func calls() []kernels.Call {
	var out []kernels.Call
	for _, g := range []kernels.Gated{
		{Rows: 8192, Width: 14336, Dim: 16, Down: 16},
		{Rows: 4096, Width: 8192, Dim: 32, Down: 32},
		{Rows: 37, Width: 96, Dim: 16},
		{Rows: 37, Width: 96, Down: 16},
		{Rows: 8192, Width: 14336},
	} {
		out = append(out, g.Forward(), g.Backward(false), g.Backward(true))
	}
	n := kernels.Norm{Rows: 8192, Width: 4096, Eps: 1e-5}
	out = append(out, n.Forward(true), n.Forward(false), n.Backward())
	r := kernels.Rotary{Rows: 8192, Heads: 32, KV: 8, Width: 128, Turned: 128}
	out = append(out, r.Forward(true), r.Forward(false), r.Backward(), kernels.Rotary{Rows: 9, Heads: 2, KV: 1, Width: 40, Turned: 16}.Forward(false))
	for _, dim := range []int{16, 32} {
		t := kernels.Turned{Rotary: r, Dim: dim}
		out = append(out, t.Forward(true), t.Forward(false), t.Backward())
	}
	list := kernels.Tensors{Sizes: []int{65536, 7}}
	out = append(out, list.Squares(), list.Adam(kernels.Adam{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Rates: []float64{1, 2}}), kernels.Entropy{Rows: 2048, Vocab: 128256}.Call())
	for _, f := range []kernels.Few{
		{Rows: 1, In: 4096, Out: 6144, Norm: true, Eps: 1e-5, Bias: true, Dim: 16, Pieces: []int{4096, 1024, 1024}},
		{Rows: 1, In: 4096, Out: 14336, Norm: true, Eps: 1e-5, Gated: true},
		{Rows: 1, In: 14336, Out: 4096, Add: true},
		{Rows: 8, In: 4096, Out: 14336, Gated: true, Dim: 32, Pieces: []int{14336, 14336}},
		{Rows: 1, In: 4096, Out: 128256, Norm: true, Eps: 1e-5, Wide: true},
	} {
		out = append(out, f.Call())
	}
	for _, c := range []kernels.Cached{
		{Rows: 1, Heads: 32, KV: 8, Width: 128, Turned: 128, Capacity: 2048, Scale: 0.088},
		{Rows: 8, Heads: 64, KV: 8, Width: 256, Turned: 64, Capacity: 128, Window: 64, Scale: 0.0625},
	} {
		out = append(out, c.Call(), c.Joined())
	}
	whole := kernels.Share{Rows: 16, Parts: 2, Height: 16, Wide: 64, Factor: 1, Weight: 0}
	out = append(out, kernels.Narrow{Rows: 8192, Width: 14336}.Call(), kernels.OneUnit{Rows: 8192, Width: 14336, Units: 56}.Call(), kernels.Entropy{Rows: 8192, Vocab: 128256, Float8: true}.Call())
	n.Float8 = true
	out = append(out, n.Forward(true), n.Forward(false), n.Backward())
	for _, dim := range []int{16, 32} {
		g := kernels.Gated{Rows: 8192, Width: 14336, Dim: dim, Down: dim, Float8: true}
		t := kernels.Turned{Rotary: r, Dim: dim, Float8: true}
		out = append(out, g.Forward(), g.Backward(false), t.Backward())
	}
	out = append(out, kernels.Gated{Rows: 37, Width: 96, Dim: 16, Float8: true}.Forward())
	return append(out, kernels.Stack([]kernels.Matrix{{Rows: 16, Cols: 64, Pieces: []kernels.Piece{{Rows: 16, Cols: 64, Factor: 1}}}}),
		kernels.Unstack([]kernels.Out{{Rows: 16, Cols: 64, Shares: []kernels.Share{whole}}}, 1))
}

// TestKernelsCompile compiles all kernels for every architecture that gorun has them for.
func TestKernelsCompile(t *testing.T) {
	nvrtc, err := csrc.OpenNVRTC("libnvrtc.so.13")
	if err != nil {
		skip.Because(t, "NVIDIA's NVRTC is not among the system's libraries")
	}
	for _, arch := range []int{80, 89, 90, 100} {
		for i, call := range calls() {
			if narrow := strings.Contains(call.Text, "define FLOAT8 1") || call.Name == "narrow_rows" || call.Name == "one_unit"; narrow && arch < 89 {
				continue // 8-bit floats are beyond it
			}
			options := append(kernels.Options(), fmt.Sprint("--gpu-architecture=sm_", arch), "--ptxas-options=--warn-on-spills")
			if cubin, err := nvrtc.Compile(call.Source(), call.Name, options); err != nil || len(cubin) == 0 {
				t.Errorf("sm_%d, call %d: %v", arch, i, err)
			}
		}
	}
}

// TestKernelsFit holds kernels to the shared memory and the threads that every GPU they are for gives a block.
func TestKernelsFit(t *testing.T) {
	for _, call := range calls() {
		if call.Shared > 99<<10 || call.Threads > 1024 || call.Threads%32 != 0 || call.Threads == 0 || call.Grid[1] > 65535 {
			t.Errorf("%s: %d bytes, %d threads, grid %v", call.Name, call.Shared, call.Threads, call.Grid)
		}
	}
}
