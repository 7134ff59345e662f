package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// The gated MLP by a kernel. Gate and up stay side by side as their product gave them, without their adapters' share:
// the kernel adds it, in both passes, from the low-rank t, and makes the small products of the wide matrices while it has
// them. Adapters beyond the kernel's sizes, and those with dropout, stay products of their own.

// gatedKernel is the kernel of the block's MLP, and whether there is one.
func (b block) gatedKernel(e *emit) (kernels.Gated, bool) {
	k := kernels.Gated{Rows: e.tokens(), Width: b.mlp.out / 2, Dim: b.mlp.kernelDim(e), Down: b.down.kernelDim(e)}
	// Selective remat does not run again what finds the greatest gate and up. Adapters of down that are not inside would be
	// added to what is in rows' units.
	rows := kernels.Narrow{Rows: k.Rows, Width: b.down.out}
	k.Float8 = e.cfg.Float8 && k.Dim > 0 && (k.Down > 0 || b.down.adapted() == nil) && e.cfg.Remat != RematSelective && rows.Fits()
	return k, e.cfg.Kernels && b.mixture == nil && b.mlp.bias < 0 && !b.mlp.hasMagnitude() && !b.down.hasMagnitude() && e.cfg.Decoder.Activation == "silu" && k.Fits()
}

// gateUp fills a.gateUp and a.tMLP from the norm h of the residual stream.
func (b block) gateUp(e *emit, k kernels.Gated, h hlo.Value, a *acts) {
	a.gateUp, a.tMLP = b.mlp.joined(e, h, k.Dim == 0)
}

// gatedLow is t and B as the kernel takes them; invalid where it takes none.
func (b block) gatedLow(e *emit, k kernels.Gated, a *acts) (t, bb hlo.Value) {
	if k.Dim == 0 {
		return t, bb
	}
	return b.mlp.lowByPieces(e, k.Dim, a.tMLP)
}

// forwardGated is what goes into the down projection, from gateUp, and fills a.tDn.
func (b block) forwardGated(e *emit, k kernels.Gated, a *acts) hlo.Value {
	t, bb := b.gatedLow(e, k, a)
	out := e.Gated(k, a.gateUp, t, bb, e.stacks.downA)
	a.most = out.Most
	if k.Float8 {
		e.rounding.done[out.Product] = out.Narrow
	}
	if k.Down > 0 {
		a.tDn = e.c(e.Slice(out.Low, 1, 0, b.down.adapted()[0].Dim))
	} else if segs := b.down.adapted(); segs != nil {
		a.tDn = e.c(b.down.low(e, out.Product, segs))
	}
	return out.Product
}

// backwardGated takes the gradient of the block's output, records those of the down projection's parameters and returns
// that of the norm of the residual stream, and what records the gradients that need that norm.
func (b block) backwardGated(e *emit, k kernels.Gated, a acts, dy hlo.Value) (dh hlo.Value, record func(input)) {
	var dm, rows, s, unit hlo.Value
	down := func(input) {}
	if k.Down > 0 {
		segs := b.down.adapted()
		s = e.Pad(b.down.backwardB(e, segs, a.tDn, dy)[0], 1, 0, k.Down-segs[0].Dim)
	}
	switch {
	case k.Float8:
		var most hlo.Value
		dm, rows, most = b.down.timesBackwardRows(e, dy)
		unit = e.Unit(e.gatedMost(a.most, most, s, e.stacks.downA), hlo.E5M2)
	case k.Down > 0:
		dm = e.c(b.down.timesBackward(e, dy))
	default:
		dm, down = b.down.backwardInput(e, nil, a.tDn, dy)
		dm = e.c(dm)
	}
	t, bb := b.gatedLow(e, k, &a)
	again := k.Down == 0 && (e.cfg.Full || b.down.adapted() != nil)
	d := e.GatedBackward(k, again, a.gateUp, t, bb, dm, rows, s, e.stacks.downA, unit)
	if k.Float8 {
		e.rounding.done[d.GateUp] = hlo.Float8{Value: d.GateUp, Unit: unit}
	}
	down(input{x: d.Product})
	if k.Down > 0 {
		a := b.down.adapted()[0]
		e.share(a.a, share{Share: kernels.Share{Rows: a.Dim, Parts: k.Groups(), Height: k.Down, Wide: k.Width, Factor: 1}, from: d.A})
	}
	if k.Dim == 0 {
		return b.mlp.backwardInput(e, nil, a.tMLP, d.GateUp)
	}
	return b.backwardGateUp(e, k, d)
}

// backwardGateUp is backwardInput of the product of gate and up, whose small products the kernel has made.
func (b block) backwardGateUp(e *emit, k kernels.Gated, d hlo.GatedGrads) (dh hlo.Value, record func(input)) {
	segs := b.mlp.adapted()
	ss := b.mlp.shareByPieces(e, d.B, k.Dim, []hlo.Value{e.Slice(d.Low, 1, 0, k.Dim), e.Slice(d.Low, 1, k.Dim, 2*k.Dim)})
	dh = b.mlp.throughA(e, segs, ss, b.mlp.timesBackward(e, d.GateUp))
	return dh, func(in input) { b.mlp.gradA(e, segs, ss, in) }
}
