package model

import (
	"math"

	"gorun/model/hlo"
	"gorun/model/spec"
)

// What families do in ways of their own, as data of the decoder. Each function here is nothing for a family without its
// way, so that the programs of plain ones have no trace of it.

// branch is what attention or MLP adds to the residual stream: y, their result in the compute dtype [T,D], normed by
// weight number norm where the family norms results (-1 = not), and scaled where it scales them.
func (e *emit) branch(y hlo.Value, norm int) hlo.Value {
	if norm >= 0 {
		y = e.norm(y, norm)
	}
	return e.scaled(y, e.cfg.Decoder.ResidualScale)
}

// branchBackward turns the gradient of branch(y, norm) into that of y, both in the compute dtype.
func (e *emit) branchBackward(y hlo.Value, norm int, d hlo.Value) hlo.Value {
	d = e.scaled(d, e.cfg.Decoder.ResidualScale)
	if norm < 0 {
		return d
	}
	return e.c(e.normBackward(y, norm, d))
}

// scaled is x * by; 0 stands for 1.
func (e *emit) scaled(x hlo.Value, by float64) hlo.Value {
	if by == 0 {
		return x
	}
	return e.Scale(x, by)
}

// capped is c * tanh(x/c) of float32 values, and its slope 1 - tanh(x/c)^2. With a cap of 0 it is x, and there is no
// slope.
func capped(g *hlo.Graph, x hlo.Value, limit float64) (y, slope hlo.Value) {
	if limit == 0 {
		return x, slope
	}
	t := g.Tanh(g.Scale(x, 1/limit))
	return g.Scale(t, limit), g.Sub(g.Const(x.DType(), 1), g.Mul(t, t))
}

// times is x times a slope, where there is one.
func times(g *hlo.Graph, x, slope hlo.Value) hlo.Value {
	if !slope.Valid() {
		return x
	}
	return g.Mul(x, slope)
}

// geluTanh is x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), of float32 values, and its slope
// (1 + tanh(u))/2 + x/2 (1 - tanh(u)^2) sqrt(2/pi) (1 + 3*0.044715 x^2): GELU as PyTorch approximates it.
func (e *emit) geluTanh(x hlo.Value) (y, slope hlo.Value) {
	const cubic = 0.044715
	root := math.Sqrt(2 / math.Pi)
	one := e.Const(x.DType(), 1)
	square := e.Mul(x, x)
	t := e.Tanh(e.Scale(e.Mul(x, e.Add(one, e.Scale(square, cubic))), root))
	half := e.Scale(e.Add(one, t), 0.5)
	inner := e.Scale(e.Add(one, e.Scale(square, 3*cubic)), root)
	return e.Mul(x, half), e.Add(half, e.Scale(e.Mul(x, e.Mul(e.Sub(one, e.Mul(t, t)), inner)), 0.5))
}

// gelu tells whether the gate's activation is GELU.
func (e *emit) gelu() bool { return e.cfg.Decoder.Activation == spec.GELUTanh }

// logits are the logits of products with the head, float32, and their slope by these: scaled and capped where the family
// does so. Without either the slope is invalid, which stands for 1.
func (e *emit) logits(g *hlo.Graph, x hlo.Value) (y, slope hlo.Value) {
	scale, limit := e.cfg.Decoder.LogitScale, e.cfg.Decoder.LogitCap
	if scale != 0 {
		x = g.Scale(x, scale)
	}
	y, slope = capped(g, x, limit)
	switch {
	case scale != 0 && limit == 0:
		slope = g.Full(x.DType(), scale, x.Dims()...)
	case scale != 0:
		slope = g.Scale(slope, scale)
	}
	return y, slope
}
