package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// q, k and v by a kernel, which takes their product apart and turns q and k. The product comes without its bias, and,
// where the kernel has the adapters inside, without their share.

// rotaryKernel is the kernel for the block's first product, with Dim 0 if its adapters are not inside, and whether there
// is one.
func (b block) rotaryKernel(e *emit) (kernels.Turned, bool) {
	k := kernels.Turned{Rotary: kernels.Rotary{Rows: e.tokens(), Heads: e.part.Heads, KV: e.part.KVHeads, Width: e.part.HeadDim}, Dim: b.qkv.kernelDim(e)}
	if b.rope {
		k.Turned = e.part.Rope.Dim
	}
	if !k.Fits() {
		k.Dim = 0
	}
	k.Float8 = e.cfg.Float8 && k.Dim > 0
	return k, e.cfg.Kernels && !b.qkv.hasMagnitude() && b.qNorm < 0 && b.kNorm < 0 && k.Rotary.Fits()
}

// angles are cosine and sine, a row for each token.
func (e *emit) angles() (cos, sin hlo.Value) {
	half := e.cos.Dim(2)
	return e.Reshape(e.cos, e.tokens(), half), e.Reshape(e.sin, e.tokens(), half)
}

// forwardTurned fills q, k and v, turned, from the norm h of the block's input.
func (b block) forwardTurned(e *emit, k kernels.Turned, h hlo.Value, a *acts) {
	qkv, tTR := b.qkv.joined(e, h, k.Dim == 0)
	a.tQKV = tTR
	var bias hlo.Value
	if b.qkv.bias >= 0 {
		bias = e.F32(e.w[b.qkv.bias])
	}
	cos, sin := e.angles()
	if k.Dim == 0 {
		a.q, a.k, a.v = e.Rotary(k.Rotary, qkv, bias, cos, sin)
		return
	}
	t, bb := b.qkv.lowByPieces(e, k.Dim, tTR)
	a.q, a.k, a.v = e.RotaryLow(k, qkv, t, bb, bias, cos, sin)
}

// backwardTurned is backwardQKV with the kernel.
func (b block) backwardTurned(e *emit, k kernels.Turned, a acts, dq, dk, dv hlo.Value) (dh hlo.Value, record func(input)) {
	rows := func(d hlo.Value, n int) hlo.Value {
		return e.c(e.Reshape(e.Transpose(d, 0, 2, 1, 3), e.tokens(), n*k.Width))
	}
	dq, dk, dv = rows(dq, k.Heads), rows(dk, k.KV), rows(dv, k.KV)
	cos, sin := e.angles()
	if k.Dim == 0 {
		return b.qkv.backwardInput(e, nil, a.tQKV, e.RotaryBackward(k.Rotary, dq, dk, dv, cos, sin))
	}
	t, bb := b.qkv.lowByPieces(e, k.Dim, a.tQKV)
	var unit hlo.Value
	if k.Float8 {
		unit = e.Unit(e.turnedMost(dq, dk, dv), hlo.E4M3)
	}
	d := e.RotaryLowBackward(k, dq, dk, dv, t, bb, cos, sin, unit)
	if k.Float8 {
		e.rounding.done[d.QKV] = hlo.Float8{Value: d.QKV, Unit: unit}
	}
	segs := b.qkv.adapted()
	ss := b.qkv.shareByPieces(e, d.B, 0, d.Low[:])
	dh = b.qkv.throughA(e, segs, ss, b.qkv.timesBackward(e, d.QKV))
	return dh, func(in input) { b.qkv.gradA(e, segs, ss, in) }
}
