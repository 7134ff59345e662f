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
	k := kernels.Gated{Rows: e.tokens(), Width: b.mlp.out / 2}
	if e.cfg.Dropout == 0 {
		k.Dim, k.Down = b.mlp.kernelDim(), b.down.kernelDim()
	}
	return k, e.cfg.Kernels && b.mlp.bias < 0 && e.cfg.Decoder.Activation == "silu" && k.Fits()
}

// kernelDim is the inner size with which the linear's adapters go into a kernel; 0 if there are none or they are too
// large.
func (l linear) kernelDim() int {
	most := 0
	for _, s := range l.adapted() {
		most = max(most, s.Dim)
	}
	if most > kernels.MostDim {
		return 0
	}
	return kernels.Padded(most)
}

// half is what one half of a fused product of two halves has of the adapters.
type half struct {
	segment
	at       int // where the segment's columns of t begin
	from, to int // which of the segment's rows of B
	place    int // of the segment among the adapted ones
}

// halves are the adapters of gate and of up; nil without. A fused linear's adapter is both halves'.
func (l linear) halves() [2]*half {
	var out [2]*half
	n, at := l.out/2, 0
	for i, s := range l.adapted() {
		for h := range out {
			if s.from <= h*n && (h+1)*n <= s.to {
				out[h] = &half{s, at, h*n - s.from, (h+1)*n - s.from, i}
			}
		}
		at += s.Dim
	}
	return out
}

// gatedLow lays t and B as the kernel takes them: [T,2*Dim] and [2F,Dim]. Invalid where it takes none.
func (b block) gatedLow(e *emit, k kernels.Gated, tTR hlo.Value) (t, bb hlo.Value) {
	if k.Dim == 0 {
		return t, bb
	}
	stacked := e.stacks.gatedB.Valid()
	var ts, bs []hlo.Value
	for _, h := range b.mlp.halves() {
		if h == nil {
			ts = append(ts, e.Full(e.cfg.Compute, 0, k.Rows, k.Dim))
			bs = append(bs, e.Full(e.cfg.Compute, 0, k.Width, k.Dim))
			continue
		}
		ts = append(ts, e.Pad(e.Slice(tTR, 1, h.at, h.at+h.Dim), 1, 0, k.Dim-h.Dim))
		if stacked {
			continue
		}
		own := e.c(e.Scale(e.Slice(e.w[h.b], 0, h.from, h.to), h.Scale))
		bs = append(bs, e.Pad(own, 1, 0, k.Dim-h.Dim))
	}
	if stacked {
		return e.Concat(1, ts...), e.stacks.gatedB
	}
	return e.Concat(1, ts...), e.Concat(0, bs...)
}

// downA is A of the down projection as the kernel takes it; invalid where it takes none.
func (b block) downA(e *emit, k kernels.Gated) hlo.Value {
	if k.Down == 0 || e.stacks.gatedA.Valid() {
		return e.stacks.gatedA
	}
	a := b.down.adapted()[0]
	return e.Pad(e.weight(a.a), 0, 0, k.Down-a.Dim)
}

// gateUp fills a.gateUp and a.tMLP from the norm h of the residual stream.
func (b block) gateUp(e *emit, k kernels.Gated, h hlo.Value, a *acts) {
	a.gateUp, a.tMLP = b.mlp.joined(e, h, k.Dim == 0)
}

// forwardGated is the rest of the forward pass after gateUp, up to the down projection's product, and fills a.tDn.
func (b block) forwardGated(e *emit, k kernels.Gated, a *acts) hlo.Value {
	t, bb := b.gatedLow(e, k, a.tMLP)
	out := e.Gated(k, a.gateUp, t, bb, b.downA(e, k))
	if k.Down > 0 {
		a.tDn = e.c(e.Slice(out.Low, 1, 0, b.down.adapted()[0].Dim))
	} else if segs := b.down.adapted(); segs != nil {
		a.tDn = e.c(b.down.low(e, out.Product, segs))
	}
	return b.down.applied(e, out.Product, a.tDn)[0]
}

// backwardGated takes the gradient of the block's output, records those of the down projection's parameters and returns
// that of the norm of the residual stream, and what records the gradients that need that norm.
func (b block) backwardGated(e *emit, k kernels.Gated, a acts, dy hlo.Value) (dh hlo.Value, record func(input)) {
	var dm, s hlo.Value
	down := func(input) {}
	if k.Down > 0 {
		segs := b.down.adapted()
		dm = e.product(dy, 1, e.weight(b.down.weight), 0)
		s = e.Pad(b.down.backwardB(e, segs, a.tDn, dy)[0], 1, 0, k.Down-segs[0].Dim)
	} else {
		dm, down = b.down.backwardInput(e, a.tDn, dy)
	}
	t, bb := b.gatedLow(e, k, a.tMLP)
	again := k.Down == 0 && (e.cfg.Full || b.down.adapted() != nil)
	d := e.GatedBackward(k, again, a.gateUp, t, bb, e.c(dm), s, b.downA(e, k))
	down(input{x: d.Product})
	if k.Down > 0 {
		a := b.down.adapted()[0]
		e.share(a.a, share{Share: kernels.Share{Rows: a.Dim, Parts: k.Groups(), Height: k.Down, Wide: k.Width, Factor: 1}, from: d.A})
	}
	if k.Dim == 0 {
		return b.mlp.backwardInput(e, a.tMLP, d.GateUp)
	}
	return b.backwardGateUp(e, k, d)
}

// backwardGateUp is backwardInput of the product of gate and up, whose small products the kernel has made.
func (b block) backwardGateUp(e *emit, k kernels.Gated, d hlo.GatedGrads) (dh hlo.Value, record func(input)) {
	segs := b.mlp.adapted()
	ss := make([]hlo.Value, len(segs))
	for i, half := range b.mlp.halves() {
		if half == nil {
			continue
		}
		e.share(half.b, share{Share: kernels.Share{Row: half.from, Rows: half.to - half.from, Parts: k.Groups(), Height: 2 * k.Dim, Wide: k.Width, FromRow: i * k.Dim, Factor: half.Scale}, from: d.B, turned: true})
		s := e.Slice(d.Low, 1, i*k.Dim, i*k.Dim+half.Dim)
		if p := half.place; ss[p].Valid() {
			ss[p] = e.Add(ss[p], s)
		} else {
			ss[p] = s
		}
	}
	for i := range ss {
		ss[i] = e.c(ss[i])
	}
	dh = b.mlp.throughA(e, segs, ss, e.product(d.GateUp, 1, e.weight(b.mlp.weight), 0))
	return dh, func(in input) { b.mlp.gradA(e, segs, ss, in) }
}
