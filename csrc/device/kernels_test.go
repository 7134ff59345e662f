package device_test

import (
	"fmt"
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
	return out
}

// TestKernelsCompile compiles all kernels for every architecture that gorun has them for.
func TestKernelsCompile(t *testing.T) {
	nvrtc, err := csrc.OpenNVRTC("libnvrtc.so.13")
	if err != nil {
		skip.Because(t, "NVIDIA's NVRTC is not among the system's libraries")
	}
	for _, arch := range []int{80, 89, 90, 100} {
		for i, call := range calls() {
			options := append(kernels.Options(), fmt.Sprint("--gpu-architecture=sm_", arch), "--ptxas-options=--warn-on-spills")
			if cubin, err := nvrtc.Compile(call.Source(), call.Name, options); err != nil || len(cubin) == 0 {
				t.Errorf("sm_%d, call %d: %v", arch, i, err)
			}
		}
	}
}
