package model

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// Target is the kind of device that programs are written for. What they compute is the same; how differs where it
// decides the speed: what the products come out in, and how many small ones there are.
type Target int

// The targets.
const (
	CPU  Target = iota
	CUDA        // an NVIDIA GPU
)

// products is the dtype that the large products come out in. On CPU it is float32, which costs nothing there; a GPU
// would spend as long on writing and reading the wider result as on the product.
func (c Config) products() dtypes.DType {
	if c.Target == CUDA {
		return c.Compute
	}
	return dtypes.Float32
}

// product contracts axis ca of a with axis cb of b, in the dtype of products.
func (e *emit) product(a hlo.Value, ca int, b hlo.Value, cb int) hlo.Value {
	return e.Product(a, ca, b, cb, e.cfg.products())
}

// turned exchanges the last two axes of x, where a GPU's products take them as they are and those of the CPU want the
// contracted axis of their left operand last: otherwise they convert both operands to float32 and take twice as long. The
// barrier keeps XLA from undoing it.
func (e *emit) turned(x hlo.Value) hlo.Value {
	perm := make([]int, len(x.Dims()))
	for i := range perm {
		perm[i] = i
	}
	last := len(perm) - 1
	perm[last-1], perm[last] = last, last-1
	return e.Barrier(e.Transpose(x, perm...))
}

// crossed is t^T y [R,N] float32 for a narrow t [T,R] and y [T,N].
func (e *emit) crossed(t, y hlo.Value) hlo.Value {
	if e.cfg.Target == CUDA {
		return e.TN(t, y)
	}
	return e.NN(e.turned(t), y)
}

// FlashRefused says why cuDNN's attention cannot serve the configuration; nil if it can.
func (c Config) FlashRefused() error {
	size := c.Decoder.HeadDim
	switch {
	case c.Target != CUDA:
		return errors.New("cuDNN is for NVIDIA GPUs")
	case c.Decoder.AttentionCap != 0:
		return errors.New("cuDNN's attention has no soft cap of scores")
	case c.Compute != dtypes.BFloat16:
		return fmt.Errorf("cuDNN's attention is for bfloat16, not %s", c.Compute)
	case size%8 != 0 || size > 128: // larger ones have no backward kernel on most GPUs
		return fmt.Errorf("cuDNN's attention is for head sizes that are multiples of 8 up to 128, not %d", size)
	}
	return nil
}
