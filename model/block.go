package model

import "gorun/model/hlo"

// acts are the intermediate values of a block's forward pass that its backward pass uses. Which of them are saved and
// which are computed again is the remat policy's choice.
type acts struct {
	q, k, v   hlo.Value // projections [T, H*E], [T, K*E], [T, K*E]: before rotary, or, where a kernel turns them, after
	tQKV      hlo.Value // x A^T of each product's adapters [T, sum of dims]; invalid without
	o         hlo.Value // attention output [T, H*E]
	lse       hlo.Value // log-sum-exp of the scores [B*K,G,S] float32
	tOut      hlo.Value
	x2        hlo.Value // residual stream after attention [T,D]
	gate, up  hlo.Value // [T,F]
	gateUp    hlo.Value // both side by side [T,2F], instead of gate and up, where a kernel takes them; of experts [slots,2F]
	most      hlo.Value // the greatest magnitude of gate and up [] float32, where a kernel makes their gradients 8-bit floats
	tMLP, tDn hlo.Value
	loads     hlo.Value // of the router, for the auxiliary loss; never saved
	yo, yd    hlo.Value // what o and down give [T,D]; kept where these are normed
	h2        hlo.Value // norm of x2, where it came with x2; never saved
}

// saved lists the fields of a that a policy keeps, in the order in which forward returns them.
func (b block) saved(e *emit, a *acts) []*hlo.Value {
	r := e.cfg.Remat
	if r == RematFull {
		return nil
	}
	out := []*hlo.Value{&a.q, &a.k, &a.v, &a.o, &a.lse, &a.x2}
	adapted := func(l linear, t *hlo.Value) {
		if l.adapted() != nil {
			out = append(out, t)
		}
	}
	adapted(b.qkv, &a.tQKV)
	adapted(b.out, &a.tOut)
	adapted(b.down, &a.tDn)
	if b.normAfter1 >= 0 {
		out = append(out, &a.yo, &a.yd)
	}
	if r == RematNone {
		if k, ok := b.gatedKernel(e); ok || b.mixture != nil {
			out = append(out, &a.gateUp)
			if k.Float8 {
				out = append(out, &a.most)
			}
		} else {
			out = append(out, &a.gate, &a.up)
		}
		adapted(b.mlp, &a.tMLP)
	}
	return out
}

// forward runs a block on x [T,D] and returns y [T,D], both in the compute dtype.
func (b block) forward(e *emit, x hlo.Value) (y hlo.Value, a acts) {
	b.forwardAttention(e, x, &a)
	b.forwardMLP(e, &a)
	return b.forwardDown(e, &a), a
}

// forwardDown is what the block gives, from gate and up, or gateUp, or of experts from x2; it fills yd, where the stream is not
// added by the down projection's products.
func (b block) forwardDown(e *emit, a *acts) (y hlo.Value) {
	if b.mixture != nil {
		a.yd, a.gateUp, a.loads = b.mixture.forward(e, b.inputMLP(e, a), e.cfg.Remat == RematNone)
		return e.Add(a.x2, e.branch(a.yd, b.normAfter2))
	}
	var m hlo.Value // act(gate) * up
	if k, ok := b.gatedKernel(e); ok {
		m = b.forwardGated(e, k, a)
	} else {
		m = e.gated(a.gate, a.up)
		if segs := b.down.adapted(); segs != nil {
			a.tDn = e.c(b.down.low(e, m, segs))
		}
	}
	if b.down.addsUp(e) && b.normAfter2 < 0 && e.cfg.Decoder.ResidualScale == 0 {
		return e.c(b.down.timesOnto(e, a.x2, m, a.tDn))
	}
	a.yd = e.c(b.down.applied(e, m, a.tDn)[0])
	return e.Add(a.x2, e.branch(a.yd, b.normAfter2))
}

// forwardAttention fills everything up to x2.
func (b block) forwardAttention(e *emit, x hlo.Value, a *acts) {
	h := e.normed(x, b.norm1)
	if k, ok := b.rotaryKernel(e); ok {
		b.forwardTurned(e, k, h, a)
	} else {
		qkv, t := b.qkv.forward(e, h)
		a.q, a.k, a.v, a.tQKV = e.c(qkv[0]), e.c(qkv[1]), e.c(qkv[2]), t
	}
	a.o, a.lse = b.attend(e, a).forward()
	e.meansOf(a.v, a.o)
	yo, t := b.out.forward(e, a.o)
	a.yo, a.tOut = e.c(yo[0]), t
	a.x2, a.h2 = b.residualNorm(e, x, a.yo)
}

// inputMLP is the norm of x2.
func (b block) inputMLP(e *emit, a *acts) hlo.Value {
	if a.h2.Valid() {
		return a.h2
	}
	return e.normed(a.x2, b.norm2)
}

// forwardMLP fills gate and up, or gateUp, from x2; experts wait for forwardDown.
func (b block) forwardMLP(e *emit, a *acts) {
	if b.mixture != nil {
		return
	}
	h := b.inputMLP(e, a)
	if k, ok := b.gatedKernel(e); ok {
		b.gateUp(e, k, h, a)
		return
	}
	gu, t := b.mlp.forward(e, h)
	a.gate, a.up, a.tMLP = e.c(gu[0]), e.c(gu[1]), t
}

// attender is one way to compute attention and its gradients; attention says what they take and give.
type attender interface {
	forward() (oTN, lse hlo.Value)
	backward(oTN, doTN, lse hlo.Value) (dq, dk, dv hlo.Value)
}

// attend is the attention of the projections in a.
func (b block) attend(e *emit, a *acts) attender {
	d := e.part
	_, turned := b.rotaryKernel(e)
	q := e.heads(a.q, d.Heads, b.qNorm, b.rope && !turned)
	k := e.heads(a.k, d.KVHeads, b.kNorm, b.rope && !turned)
	v := e.heads(a.v, d.KVHeads, -1, false)
	return b.attender(e, q, k, v)
}

// attender is the attention of heads q [B,H,S,E], k and v [B,K,S,E].
func (b block) attender(e *emit, q, k, v hlo.Value) attender {
	if b.flashes(e) {
		return newFlash(e, q, k, v, b.window)
	}
	return newAttention(e, q, k, v, b.window)
}

// gated is act(gate) * up.
func (e *emit) gated(gate, up hlo.Value) hlo.Value {
	g := e.F32(gate)
	if e.gelu() {
		y, _ := e.geluTanh(g)
		return e.c(e.Mul(y, e.F32(up)))
	}
	return e.c(e.Mul(e.Mul(g, e.Logistic(g)), e.F32(up)))
}

// gatedBackward turns the gradient of gated, a product, into those of gate and up.
func (e *emit) gatedBackward(gate, up, dm hlo.Value) (dGate, dUp hlo.Value) {
	g, u, dm := e.F32(gate), e.F32(up), e.F32(dm)
	if e.gelu() {
		y, slope := e.geluTanh(g)
		return e.c(e.Mul(e.Mul(dm, u), slope)), e.c(e.Mul(dm, y))
	}
	s := e.Logistic(g)
	// d silu(g)/dg = s * (1 + g * (1 - s))
	slope := e.Mul(s, e.Add(e.Mul(g, e.Sub(e.Const(g.DType(), 1), s)), e.Const(g.DType(), 1)))
	return e.c(e.Mul(e.Mul(dm, u), slope)), e.c(e.Mul(dm, e.Mul(g, s)))
}

// backward takes the block's input, its activations and the gradient of its output [T,D] in the compute dtype, records
// the gradients of trained parameters and returns the gradient of the input in the compute dtype.
func (b block) backward(e *emit, x hlo.Value, a acts, dy hlo.Value) hlo.Value {
	dh, record := b.backwardMLP(e, a, e.branchBackward(a.yd, b.normAfter2, dy))
	dx2, in := e.residualNormBackward(a.x2, b.norm2, dh, dy)
	record(in)

	do := e.c(b.out.backward(e, a.o, a.tOut, e.branchBackward(a.yo, b.normAfter1, dx2)))
	dq, dk, dv := b.attend(e, &a).backward(a.o, do, a.lse)
	dh, record = b.backwardQKV(e, x, a, dq, dk, dv)
	dx, in := e.residualNormBackward(x, b.norm1, dh, dx2)
	record(in)
	return dx
}

// backwardMLP is the backward pass from what down gives to the norm of x2, whose gradient it returns, and what
// records the gradients that need that norm.
func (b block) backwardMLP(e *emit, a acts, dy hlo.Value) (dh hlo.Value, record func(input)) {
	if b.mixture != nil {
		return b.mixture.backward(e, e.norm(a.x2, b.norm2), a.gateUp, dy), func(input) {}
	}
	if k, ok := b.gatedKernel(e); ok {
		return b.backwardGated(e, k, a, dy)
	}
	dm := b.down.backward(e, e.gated(a.gate, a.up), a.tDn, dy)
	dGate, dUp := e.gatedBackward(a.gate, a.up, dm)
	return b.mlp.backwardRows(e, func() hlo.Value { return e.norm(a.x2, b.norm2) }, a.tMLP, dGate, dUp)
}

// backwardQKV is the backward pass from the gradients of q, k and v, as attention gives them, to that of the norm of x.
func (b block) backwardQKV(e *emit, x hlo.Value, a acts, dq, dk, dv hlo.Value) (dh hlo.Value, record func(input)) {
	if k, ok := b.rotaryKernel(e); ok {
		return b.backwardTurned(e, k, a, dq, dk, dv)
	}
	return b.qkv.backwardRows(e, func() hlo.Value { return e.norm(x, b.norm1) }, a.tQKV,
		e.headsBackward(a.q, dq, b.qNorm, b.rope),
		e.headsBackward(a.k, dk, b.kNorm, b.rope),
		e.headsBackward(a.v, dv, -1, false))
}
