package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
	"gorun/model/spec"
)

// DoRA (Liu et al. 2024, arXiv:2402.09353) learns a linear's direction by its adapter and the length of each of its rows
// apart: with V = W + scale * B A, the weight is V with row i scaled to the length m_i. It is the product that has been
// there anyway, times m_i/|V_i| in each output feature, before any bias. As in the paper (section 4.3) and in PEFT the
// lengths |V_i| are constants to the gradient.
//
// |V_i|^2 = |W_i|^2 + 2 scale B_i (A W_i^T) + scale^2 B_i (A A^T) B_i^T never makes V. Each term is a sum over input
// features, so where those are split the parts' shares are added up.

// magnitude adds the magnitudes of an adapted segment of the linear m.
func (l *layout) magnitude(m spec.Linear, seg segment, columns bool) int {
	split := l.cfg.Split.Tensor.split()
	p := Param{Name: m.Name + suffixM, Role: LoraM, Trainable: true, Split: split && !columns, shared: split && columns}
	var parts []Part
	for _, r := range seg.rows {
		parts = append(parts, r.of(p.Name, m.Out))
	}
	return l.add(p, dtypes.Float32, []int{seg.to - seg.from}, parts...)
}

// hasMagnitude tells whether any segment is DoRA's.
func (l linear) hasMagnitude() bool {
	for _, s := range l.segs {
		if s.m >= 0 {
			return true
		}
	}
	return false
}

// lengths is |V_i| of every row of a segment of DoRA [to-from], float32.
func (l linear) lengths(e *emit, s segment) hlo.Value {
	w, a, b := e.Slice(e.weight(l.weight), 0, s.from, s.to), e.weight(s.a), e.weight(s.b)
	f, b32 := e.F32(w), e.F32(b)
	sum := e.Sum(e.Mul(f, f), 1)
	sum = e.Add(sum, e.Scale(e.Sum(e.Mul(b32, e.NT(w, a)), 1), 2*s.Scale))
	sum = e.Add(sum, e.Scale(e.Sum(e.Mul(b32, e.NN(b32, e.NT(a, a))), 1), s.Scale*s.Scale))
	if t := e.cfg.Split.Tensor; t.split() && l.columns {
		sum = e.AllReduce(t.comm(), l.name+", lengths", sum)
	}
	return e.Sqrt(sum)
}

// stretch is what DoRA multiplies each output feature of a product by, m_i/|V_i|, or 1 in segments without an adapter
// [out], float32, and the lengths by segment. It is invalid without DoRA.
func (l linear) stretch(e *emit) (g hlo.Value, lengths []hlo.Value) {
	if !l.hasMagnitude() {
		return g, nil
	}
	gs := make([]hlo.Value, len(l.segs))
	lengths = make([]hlo.Value, len(l.segs))
	for i, s := range l.segs {
		gs[i] = e.Full(dtypes.Float32, 1, s.to-s.from)
		if s.m >= 0 {
			lengths[i] = l.lengths(e, s)
			gs[i] = e.Div(e.w[s.m], lengths[i])
		}
	}
	return e.Concat(0, gs...), lengths
}

// stretched multiplies columns [from, to) of a product, p, by their share of the stretch g, if there is one.
func (e *emit) stretched(p, g hlo.Value, from, to int) hlo.Value {
	if !g.Valid() {
		return p
	}
	p = e.F32(p)
	return e.Mul(p, e.Like(e.Slice(g, 0, from, to), p, 1))
}

// backwardStretch turns the gradient of a stretched product [T,out] into that of the product as it was before, in the
// compute dtype, and records those of the magnitudes: with u the product before, dm_i = sum over tokens of dy_i u_i/|V_i|.
// u is computed again: of some products nothing is saved that it could be had from.
func (l linear) backwardStretch(e *emit, x, tTR, dyTN hlo.Value) hlo.Value {
	g, lengths := l.stretch(e)
	if !g.Valid() {
		return dyTN
	}
	base, at := e.F32(e.product(x, 1, e.weight(l.weight), 1)), 0
	for i, s := range l.segs {
		if s.m < 0 {
			continue
		}
		dy, t := e.F32(e.Slice(dyTN, 1, s.from, s.to)), e.Slice(tTR, 1, at, at+s.Dim)
		at += s.Dim
		u := e.Add(e.Slice(base, 1, s.from, s.to), e.Scale(e.NT(t, e.weight(s.b)), s.Scale))
		e.grad(s.m, e.Div(e.Sum(e.Mul(dy, u), 0), lengths[i]))
	}
	return e.c(e.stretched(dyTN, g, 0, l.out))
}
