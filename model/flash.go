package model

import "gorun/model/hlo"

// flash is attention by cuDNN: one kernel forward and a few backward, which keep the scores on chip.
type flash struct {
	e       *emit
	q, k, v hlo.Value // [B,S,H,E], [B,S,K,E]
	scale   float64
	window  int
}

// newFlash takes heads as newAttention does: q [B,H,S,E], k and v [B,K,S,E]. cuDNN wants the order that the projections
// have, so this undoes the transposition of heads, and XLA drops both.
func newFlash(e *emit, q, k, v hlo.Value, window int) flash {
	t := func(x hlo.Value) hlo.Value { return e.Transpose(x, 0, 2, 1, 3) }
	return flash{e: e, q: t(q), k: t(k), v: t(v), scale: e.cfg.Decoder.ScoreScale(), window: window}
}

// forward returns the output [T, H*E] and the log-sum-exp [B,H,S].
func (f flash) forward() (oTN, lse hlo.Value) {
	o, lse := f.e.FlashAttention(f.q, f.k, f.v, f.scale, f.window)
	return f.e.Reshape(o, f.tokens()...), lse
}

// backward takes the output, its gradient and the log-sum-exp, and returns the gradients of q [B,H,S,E], k and v
// [B,K,S,E] in the compute dtype.
func (f flash) backward(oTN, doTN, lse hlo.Value) (dq, dk, dv hlo.Value) {
	e := f.e
	heads := func(x hlo.Value) hlo.Value { return e.Reshape(x, f.q.Dims()...) }
	dq, dk, dv = e.FlashAttentionBackward(f.q, f.k, f.v, heads(oTN), lse, heads(doTN), f.scale, f.window)
	t := func(x hlo.Value) hlo.Value { return e.Transpose(x, 0, 2, 1, 3) }
	return t(dq), t(dk), t(dv)
}

// tokens are the dims [T, H*E].
func (f flash) tokens() []int { return []int{f.q.Dim(0) * f.q.Dim(1), f.q.Dim(2) * f.q.Dim(3)} }
