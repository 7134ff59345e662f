package model

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// A frozen base in 8-bit floats. The weights of a block's four wide products are kept in E4M3, twice: GPUs multiply 8-bit
// floats only where both operands lie along the contracted axis, and the backward pass contracts the other one. What they
// are multiplied with is rounded to 8-bit floats where it is made: to E4M3, and the gradients of gate and up to E5M2. All
// else is as it is without: adapters, norms, the residual stream, attention, embedding and head.

// Float8Refused says why the base cannot be in 8-bit floats; nil if it can.
func (c Config) Float8Refused() error {
	switch {
	case c.Full:
		return errors.New("8-bit floats are for a frozen base, and full fine-tuning trains it")
	case c.Ends < 0 || 2*c.Ends >= c.Decoder.Layers:
		return fmt.Errorf("with %d of %d blocks at either end in the dtype of activations none is left", c.Ends, c.Decoder.Layers)
	case c.Head8 && (c.Head || c.Embed && c.Decoder.TiedHead):
		return errors.New("the head is trained, and 8-bit floats are for what is frozen")
	}
	for n := range c.Decoder.Layers {
		if c.Decoder.Sparse(n) {
			return errors.New("mixtures of experts are computed in the dtype of activations only")
		}
	}
	for name, a := range c.Adapters {
		if a.DoRA {
			return fmt.Errorf("%s: DoRA takes the lengths of the weights' rows: a base in 8-bit floats is for LoRA", name)
		}
	}
	return nil
}

// float8 adds the parameters of a product's weight, made of the given parts.
func (l *layout) float8(lin *linear, name string, weights ...Part) {
	split := l.cfg.Split.Tensor.split()
	lin.weight = l.add(Param{Name: name, Split: split}, hlo.E4M3, []int{lin.out, lin.in}, weights...)
	lin.turned = l.add(Param{Name: name + ", turned", Role: Turned, Split: split}, hlo.E4M3, []int{lin.in, lin.out})
	lin.unit = l.add(Param{Name: name + ", unit", Role: Unit}, dtypes.Float32, []int{1})
}

// divide gives each of the weights' two copies to the pass that reads it. What the forward pass made is made again in the
// backward pass, if the policy says so.
func (b block) divide(r Remat) {
	for _, l := range []linear{b.qkv, b.out, b.mlp, b.down} {
		b.group.Params[l.turned].For = Backward
		if again := r == RematFull || r == RematSelective && l.name == b.mlp.name; !again {
			b.group.Params[l.weight].For = Forward
		}
	}
}

// kept is a weight as parameters i, 8-bit floats, and unit give it, in the compute dtype.
func (e *emit) kept(i, unit int) hlo.Value {
	return e.Widen(hlo.Float8{Value: e.w[i], Unit: e.Reshape(e.w[unit])}, e.cfg.Compute)
}

// times8 is times with 8-bit floats.
func (l linear) times8(e *emit, x, tTR, b hlo.Value) hlo.Value {
	weight := e.kept(l.weight, l.unit)
	if !l.byRow {
		return e.added(e.product(e.Widen(e.narrow(x, hlo.E4M3), e.cfg.Compute), 1, weight, 1), tTR, b)
	}
	f := e.narrowRows(x)
	y := e.product(e.Widen(f, e.cfg.Compute), 1, weight, 1)
	if tTR.Valid() { // added in the rows' units: a GPU can do that in place
		t := e.F32(tTR)
		y = e.added(y, e.c(e.Div(t, e.Like(f.Unit, t, 0))), b)
	}
	return e.Mul(y, e.Like(e.To(f.Unit, y.DType()), y, 0))
}

// times8Backward is timesBackward with 8-bit floats.
func (l linear) times8Backward(e *emit, dyTN hlo.Value) hlo.Value {
	dtype := hlo.E4M3
	if l.coarse {
		dtype = hlo.E5M2
	}
	return l.timesNarrow(e, e.narrow(dyTN, dtype))
}

// timesNarrow is times8Backward of what is in 8-bit floats already.
func (l linear) timesNarrow(e *emit, dyTN hlo.Float8) hlo.Value {
	return e.product(e.Widen(dyTN, e.cfg.Compute), 1, e.kept(l.turned, l.unit), 1)
}
