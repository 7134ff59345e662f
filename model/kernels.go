package model

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// KernelsRefused says why a block's programs cannot call gorun's own GPU kernels; nil if they can. Which of a block's
// pieces have one also depends on their sizes: Pieces says so.
func (c Config) KernelsRefused() error {
	switch {
	case c.Target != CUDA:
		return errors.New("kernels are for NVIDIA GPUs")
	case c.Compute != dtypes.BFloat16:
		return fmt.Errorf("kernels are for bfloat16, not %s", c.Compute)
	case c.Split.Tensor.split():
		return errors.New("kernels are not for tensor parallel parts")
	}
	return nil
}

// Pieces says of each piece of a block whether a kernel computes it; the others are XLA's, as on CPU.
type Pieces struct{ Norms, Rotary, Gated bool }

// Pieces are those of every block, for micro-batches of a shape.
func (c Config) Pieces(s Shape) ([]Pieces, error) {
	e := &emit{cfg: c, part: c.part(), rows: s.Rows, seq: c.seq(s)}
	out := make([]Pieces, c.Decoder.Layers)
	for n := range out {
		b, err := newBlock(c, n)
		if err != nil {
			return nil, err
		}
		_, out[n].Norms = e.normKernel(e.tokens(), c.Decoder.Hidden)
		_, out[n].Rotary = b.rotaryKernel(e)
		_, out[n].Gated = b.gatedKernel(e)
	}
	return out, nil
}

// tokens is T, of the tokens that are here.
func (e *emit) tokens() int { return e.rows * e.seq }

// normKernel is the kernel of RMSNorm over rows of width numbers, and whether there is one.
func (e *emit) normKernel(rows, width int) (kernels.Norm, bool) {
	k := kernels.Norm{Rows: rows, Width: width, Eps: e.cfg.Decoder.NormEps}
	return k, e.cfg.Kernels && !e.cfg.Decoder.NormPlusOne && k.Fits()
}

// residualNorm is the residual stream after attention, of the one before and of what attention gives, both in the compute
// dtype, and its norm; h is invalid where that is computed from the sum.
func (b block) residualNorm(e *emit, x, yo hlo.Value) (x2, h hlo.Value) {
	y := e.branch(yo, b.normAfter1)
	k, ok := e.normKernel(x.Dim(0), x.Dim(1))
	if !ok || b.norm2 < 0 {
		return e.Add(x, y), hlo.Value{}
	}
	return e.sumNormed(k, x, y, b.norm2)
}

// residualNormBackward is dy, the gradient that goes round the norm of x, plus that which comes through it, and the norm
// as gradients of what it went into want it.
func (e *emit) residualNormBackward(x hlo.Value, norm int, dh, dy hlo.Value) (dx hlo.Value, in input) {
	k, ok := e.normKernel(x.Dim(0), x.Dim(1))
	if !ok || e.cfg.Full || norm < 0 {
		return e.Add(dy, e.c(e.normBackward(x, norm, dh))), input{x: e.norm(x, norm)}
	}
	k.Float8 = e.cfg.Float8
	dx, scale, most := e.NormBackward(k, e.c(dh), x, dy, e.weight(norm))
	if k.Float8 {
		e.rounding.most[dx] = most
	}
	if e.dropsInput() { // masks are laid on the norm itself
		return dx, input{x: e.norm(x, norm)}
	}
	return dx, input{x, scale, e.weight(norm)}
}

// entropyKernel is the kernel of the cross-entropy of rows of logits, and whether there is one.
func (c Config) entropyKernel(rows int, v vocabulary) (kernels.Entropy, bool) {
	k := kernels.Entropy{Rows: rows, Vocab: v.count, Float8: c.Head8}
	d := c.Decoder
	return k, c.Kernels && !v.split() && d.LogitScale == 0 && d.LogitCap == 0 && k.Fits()
}
