package hlo

import (
	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Stack puts matrices of bfloat16 together of pieces of float32 tensors, by a kernel; tensors has each piece's.
func (g *Graph) Stack(matrices []kernels.Matrix, tensors []Value) []Value {
	results := make([]device.Shape, len(matrices))
	for i, m := range matrices {
		results[i] = bfloat(m.Rows, m.Cols)
	}
	return g.Kernel(kernels.Stack(matrices), tensors, results...)
}
