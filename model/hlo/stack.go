package hlo

import (
	"github.com/gomlx/compute/dtypes"

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

// Unstack takes float32 matrices out of larger ones, by a kernel; sources has each share's.
func (g *Graph) Unstack(matrices []kernels.Out, sources, weights []Value) []Value {
	results := make([]device.Shape, len(matrices))
	for i, m := range matrices {
		results[i] = device.MakeShape(dtypes.Float32, m.Rows, m.Cols)
	}
	operands := append(append([]Value(nil), sources...), weights...)
	return g.Kernel(kernels.Unstack(matrices, len(weights)), operands, results...)
}
