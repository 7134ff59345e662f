package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// SlopeUnit is the unit of a gradient by logits in E5M2: none is greater than 1.
const SlopeUnit = 0x1p-14

// Entropy is the cross-entropy of logits [N,V] bfloat16 and labels [N] int32, negative where a row counts nothing, by a
// kernel: the gradient of the summed losses by the logits, in their memory, and each label's log-probability [N] float32. With
// Float8 the gradient is in E5M2 in units of SlopeUnit.
func (g *Graph) Entropy(k kernels.Entropy, logits, labels Value) (slope, score Value) {
	if k.Float8 {
		out := g.Kernel(k.Call(), []Value{logits, labels}, device.MakeShape(E5M2, k.Rows, k.Vocab), device.MakeShape(dtypes.Float32, k.Rows))
		return out[0], out[1]
	}
	out := g.kernelIn(k.Call(), []int{0}, []Value{logits, labels}, bfloat(k.Rows, k.Vocab), device.MakeShape(dtypes.Float32, k.Rows))
	return out[0], out[1]
}
