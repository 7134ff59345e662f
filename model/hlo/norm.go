package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// NormOut is what Norm gives.
type NormOut struct {
	Sum    Value  // x + y, or x [T,D]
	H      Value  // its norm times the weight [T,D]
	Narrow Float8 // H in E4M3, in the given unit; invalid without Float8
}

// Norm is RMSNorm of x [T,D], or of x + y if y is there, by a kernel, times weight [D]. unit is asked for only with Float8:
// that of the norm [] float32.
func (g *Graph) Norm(k kernels.Norm, x, y, weight, unit Value) NormOut {
	rows := bfloat(k.Rows, k.Width)
	operands, results := []Value{x}, []device.Shape{rows}
	if y.Valid() {
		operands, results = append(operands, y), append(results, rows)
	}
	operands = append(operands, weight)
	if k.Float8 {
		operands = append(operands, g.inverse(unit))
		results = append(results, device.MakeShape(E4M3, k.Rows, k.Width))
	}
	out := g.Kernel(k.Forward(y.Valid()), operands, results...)
	n := NormOut{Sum: x}
	if y.Valid() {
		n.Sum, out = out[0], out[1:]
	}
	n.H = out[0]
	if k.Float8 {
		n.Narrow = Float8{out[1], unit}
	}
	return n
}

// NormBackward is dy [T,D] plus the gradient of x through its norm, dh [T,D] being the norm's, and the reciprocal root
// mean square of each row of x [T] float32. With Float8, most is the greatest magnitude in dx [] float32.
func (g *Graph) NormBackward(k kernels.Norm, dh, x, dy, weight Value) (dx, scale, most Value) {
	each := device.MakeShape(dtypes.Float32, k.Rows)
	results := []device.Shape{bfloat(k.Rows, k.Width), each}
	if k.Float8 {
		results = append(results, each)
	}
	out := g.Kernel(k.Backward(), []Value{dh, x, dy, weight}, results...)
	if k.Float8 {
		most = g.MaxOver(out[2], 0)
	}
	return out[0], out[1], most
}
