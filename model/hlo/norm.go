package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Norm is RMSNorm of x [T,D], or of x + y if y is there, by a kernel: that sum (else x), and the norm times weight [D].
func (g *Graph) Norm(k kernels.Norm, x, y, weight Value) (sum, h Value) {
	rows := bfloat(k.Rows, k.Width)
	if !y.Valid() {
		return x, g.Kernel(k.Forward(false), []Value{x, weight}, rows)[0]
	}
	out := g.Kernel(k.Forward(true), []Value{x, y, weight}, rows, rows)
	return out[0], out[1]
}

// NormBackward is dy [T,D] plus the gradient of x through its norm, dh [T,D] being the norm's, and the reciprocal root
// mean square of each row of x [T] float32.
func (g *Graph) NormBackward(k kernels.Norm, dh, x, dy, weight Value) (dx, scale Value) {
	out := g.Kernel(k.Backward(), []Value{dh, x, dy, weight}, bfloat(k.Rows, k.Width), device.MakeShape(dtypes.Float32, k.Rows))
	return out[0], out[1]
}
