package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Squares is the sum of the squares of all elements of float32 tensors, by a kernel.
func (g *Graph) Squares(k kernels.Tensors, tensors []Value) Value {
	return g.Sum(g.Kernel(k.Squares(), tensors, device.MakeShape(dtypes.Float32, k.Blocks()))[0], 0)
}

// Adam is one step of the optimizer, by a kernel, in the memory of p, m and v: see kernels.Tensors.
func (g *Graph) Adam(k kernels.Tensors, a kernels.Adam, p, m, v, grads []Value, hyper, scale Value) []Value {
	var operands []Value
	for _, list := range [][]Value{p, m, v, grads} {
		operands = append(operands, list...)
	}
	var results []device.Shape
	var at []int
	for i, x := range operands[:3*len(p)] {
		results, at = append(results, device.MakeShape(dtypes.Float32, x.Dims()...)), append(at, i)
	}
	return g.kernelIn(k.Adam(a), at, append(operands, hyper, scale), results...)
}
