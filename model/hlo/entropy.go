package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Entropy is the cross-entropy of logits [N,V] bfloat16 and labels [N] int32, negative where a row counts nothing, by a
// kernel: the gradient of the summed losses by the logits, in their memory, and each label's log-probability [N] float32.
func (g *Graph) Entropy(k kernels.Entropy, logits, labels Value) (slope, score Value) {
	out := g.kernelIn(k.Call(), []int{0}, []Value{logits, labels}, bfloat(k.Rows, k.Vocab), device.MakeShape(dtypes.Float32, k.Rows))
	return out[0], out[1]
}
