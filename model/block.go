package model

import "gorun/model/hlo"

// acts are the intermediate values of a block's forward pass that its backward pass uses. Which of them are saved and
// which are computed again is the remat policy's choice.
type acts struct {
	q, k, v   hlo.Value // projections before rotary [T, H*E], [T, K*E], [T, K*E]
	tQKV      hlo.Value // x A^T of each product's adapters [T, sum of dims]; invalid without
	o         hlo.Value // attention output [T, H*E]
	lse       hlo.Value // log-sum-exp of the scores [B*K,G,S] float32
	tOut      hlo.Value
	x2        hlo.Value // residual stream after attention [T,D]
	gate, up  hlo.Value // [T,F]
	tMLP, tDn hlo.Value
	yo, yd    hlo.Value // what o and down give [T,D]; kept where these are normed
}

// saved lists the fields of a that a policy keeps, in the order in which forward returns them.
func (b block) saved(a *acts, r Remat) []*hlo.Value {
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
		out = append(out, &a.gate, &a.up)
		adapted(b.mlp, &a.tMLP)
	}
	return out
}

// forward runs a block on x [T,D] and returns y [T,D], both in the compute dtype.
func (b block) forward(e *emit, x hlo.Value) (y hlo.Value, a acts) {
	b.forwardAttention(e, x, &a)
	b.forwardMLP(e, &a)
	b.forwardDown(e, &a)
	return e.Add(a.x2, e.branch(a.yd, b.normAfter2)), a
}

// forwardDown fills yd from gate and up.
func (b block) forwardDown(e *emit, a *acts) {
	yd, t := b.down.forward(e, e.gated(a.gate, a.up))
	a.yd, a.tDn = e.c(yd[0]), t
}

// forwardAttention fills everything up to x2.
func (b block) forwardAttention(e *emit, x hlo.Value, a *acts) {
	qkv, t := b.qkv.forward(e, e.norm(x, b.norm1))
	a.q, a.k, a.v, a.tQKV = e.c(qkv[0]), e.c(qkv[1]), e.c(qkv[2]), t
	a.o, a.lse = b.attend(e, a).forward()
	yo, t := b.out.forward(e, a.o)
	a.yo, a.tOut = e.c(yo[0]), t
	a.x2 = e.Add(x, e.branch(a.yo, b.normAfter1))
}

// forwardMLP fills gate and up from x2.
func (b block) forwardMLP(e *emit, a *acts) {
	gu, t := b.mlp.forward(e, e.norm(a.x2, b.norm2))
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
	q := e.heads(a.q, d.Heads, b.qNorm, b.rope)
	k := e.heads(a.k, d.KVHeads, b.kNorm, b.rope)
	v := e.heads(a.v, d.KVHeads, -1, false)
	// cuDNN refuses a single token; packed rows and parts of rows it is not asked for.
	if e.cfg.Flash && e.seq > 1 && !e.starts.Valid() && !e.cfg.Split.Context.split() {
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
	dm := b.down.backward(e, e.gated(a.gate, a.up), a.tDn, e.branchBackward(a.yd, b.normAfter2, dy))
	dGate, dUp := e.gatedBackward(a.gate, a.up, dm)
	dh := b.mlp.backward(e, e.norm(a.x2, b.norm2), a.tMLP, dGate, dUp)
	dx2 := e.Add(dy, e.c(e.normBackward(a.x2, b.norm2, dh)))

	do := e.c(b.out.backward(e, a.o, a.tOut, e.branchBackward(a.yo, b.normAfter1, dx2)))
	dq, dk, dv := b.attend(e, &a).backward(a.o, do, a.lse)
	dh = b.qkv.backward(e, e.norm(x, b.norm1), a.tQKV,
		e.headsBackward(a.q, dq, b.qNorm, b.rope),
		e.headsBackward(a.k, dk, b.kNorm, b.rope),
		e.headsBackward(a.v, dv, -1, false))
	return e.Add(dx2, e.c(e.normBackward(x, b.norm1, dh)))
}
