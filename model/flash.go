package model

import "gorun/model/hlo"

// flash is attention by cuDNN: one kernel forward and a few backward, which keep the scores on chip.
type flash struct {
	e       *emit
	q, k, v hlo.Value // [B,S,H,E], [B,S,K,E]; in packed rows those of documents.rows and seq
	sees    hlo.Sees
}

// documents are those of packed rows, which cuDNN sees as rows of another length.
type documents struct {
	hlo.Documents
	rows, seq int
}

// flashes tells whether the block's attention is cuDNN's. It refuses a single token; parts of rows, and windows
// within documents, it is not asked for.
func (b block) flashes(e *emit) bool {
	switch {
	case !e.cfg.Flash || e.seq == 1 || e.cfg.Split.Context.split():
		return false
	case e.starts.Valid():
		return e.documents.Valid() && (b.window == 0 || b.window >= e.reach)
	}
	return true
}

// newFlash takes heads as newAttention does: q [B,H,S,E], k and v [B,K,S,E]. cuDNN wants the order that the projections
// have, so this undoes the transposition of heads, and XLA drops both.
func newFlash(e *emit, q, k, v hlo.Value, window int) flash {
	f := flash{e: e, sees: hlo.Sees{Scale: e.cfg.Decoder.ScoreScale(), Window: window}}
	rows, seq := e.rows, e.seq
	if e.starts.Valid() {
		f.sees = hlo.Sees{Scale: f.sees.Scale, Documents: e.documents.Documents}
		rows, seq = e.documents.rows, e.documents.seq
	}
	t := func(x hlo.Value) hlo.Value {
		return e.Reshape(e.Transpose(x, 0, 2, 1, 3), rows, seq, x.Dim(1), x.Dim(3))
	}
	f.q, f.k, f.v = t(q), t(k), t(v)
	return f
}

// forward returns the output [T, H*E] and the log-sum-exp [B,H,S], of packed rows [N,H,S] for N documents.
func (f flash) forward() (oTN, lse hlo.Value) {
	o, lse := f.e.FlashAttention(f.q, f.k, f.v, f.sees)
	return f.e.Reshape(o, f.tokens()...), lse
}

// backward takes the output, its gradient and the log-sum-exp, and returns the gradients of q [B,H,S,E], k and v
// [B,K,S,E] in the compute dtype.
func (f flash) backward(oTN, doTN, lse hlo.Value) (dq, dk, dv hlo.Value) {
	e := f.e
	heads := func(x hlo.Value) hlo.Value { return e.Reshape(x, f.q.Dims()...) }
	dq, dk, dv = e.FlashAttentionBackward(f.q, f.k, f.v, heads(oTN), lse, heads(doTN), f.sees)
	t := func(x hlo.Value) hlo.Value {
		return e.Transpose(e.Reshape(x, e.rows, e.seq, x.Dim(2), x.Dim(3)), 0, 2, 1, 3)
	}
	return t(dq), t(dk), t(dv)
}

// tokens are the dims [T, H*E].
func (f flash) tokens() []int { return []int{f.q.Dim(0) * f.q.Dim(1), f.q.Dim(2) * f.q.Dim(3)} }
