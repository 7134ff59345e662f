package model

import (
	"gorun/model/hlo"
	"gorun/model/spec"
)

// emit carries what every piece of a block's program needs.
type emit struct {
	*hlo.Graph
	cfg     Config
	part    *spec.Decoder // what this part computes of the decoder's heads and features
	rows    int           // B
	seq     int           // S, of the tokens that are here
	chunks  []chunk       // where in their rows those tokens are
	w       []hlo.Value   // the group's parameters
	cos     hlo.Value     // [B,S,Rot/2] float32
	sin     hlo.Value
	starts  hlo.Value // [B,S] int32: where in its row each token's document begins; invalid unless rows are packed
	reach   int       // keys that a query of packed rows may see, itself included; 0 = all before it
	dropKey hlo.Value // [B], or [B,S] in packed rows, uint32 keys of the samples, already mixed with step and layer; invalid = no dropout
	grads   map[int]hlo.Value
}

// c converts to the compute dtype.
func (e *emit) c(x hlo.Value) hlo.Value { return e.To(x, e.cfg.Compute) }

// weight is a parameter in the compute dtype.
func (e *emit) weight(i int) hlo.Value { return e.c(e.w[i]) }

// grad records the gradient of parameter i, as float32 of its shape.
func (e *emit) grad(i int, g hlo.Value) { e.grads[i] = e.F32(g) }

// adapted lists the segments that have an adapter.
func (l linear) adapted() []segment {
	var out []segment
	for _, s := range l.segs {
		if s.a >= 0 {
			out = append(out, s)
		}
	}
	return out
}

// forward is x W^T + bias + scale * drop(x) A^T B^T for every segment, in one product for the base and one for all A.
// x [T,in] compute dtype. It returns the pieces [T,width] in float32 or the dtype of products, and t = drop(x) A^T
// [T, sum of dims] for backward (invalid without adapters).
//
// Split by rows of W, x is the stream, and the pieces are what this part has of the output. Split by columns, x is what
// this part has of the input and the product is a share of the sum, base and delta alike; it is reduced once, and t is
// this part's share.
func (l linear) forward(e *emit, x hlo.Value) (pieces []hlo.Value, tTR hlo.Value) {
	if !l.columns {
		x = e.whole(l.name, x)
	}
	yTN := e.product(x, 1, e.weight(l.weight), 1)
	var bias hlo.Value
	if l.bias >= 0 {
		bias = e.F32(e.w[l.bias])
	}
	deltas := make([]hlo.Value, len(l.segs))
	if segs := l.adapted(); segs != nil {
		tTR = e.c(l.low(e, x, segs))
		if e.cfg.Target == CUDA {
			yTN = e.Add(yTN, e.product(tTR, 1, l.stackB(e, segs), 1))
		}
		at := 0
		for i, s := range l.segs {
			if s.a < 0 || e.cfg.Target == CUDA {
				continue
			}
			t := e.Slice(tTR, 1, at, at+s.Dim)
			at += s.Dim
			deltas[i] = e.Scale(e.NT(t, e.weight(s.b)), s.Scale)
		}
	}
	from := 0
	for _, width := range l.splits {
		to := from + width
		p := e.Slice(yTN, 1, from, to)
		for i, s := range l.segs {
			if deltas[i].Valid() && s.from < to && from < s.to {
				p = e.Add(p, e.Slice(deltas[i], 1, from-s.from, to-s.from))
			}
		}
		if l.columns {
			p = e.F32(e.reduced(l.name, p))
		}
		if bias.Valid() {
			p = e.F32(p)
			p = e.Add(p, e.Like(e.Slice(bias, 0, from, to), p, 1))
		}
		pieces = append(pieces, p)
		from = to
	}
	return pieces, tTR
}

// low is x A^T for all adapted segments at once, or, with dropout, one by one: each has its own mask.
func (l linear) low(e *emit, x hlo.Value, segs []segment) hlo.Value {
	if !e.dropKey.Valid() {
		return e.NT(x, e.stackA(segs))
	}
	ts := make([]hlo.Value, len(segs))
	for i, s := range segs {
		ts[i] = e.NT(l.drop(e, x, s.a), e.weight(s.a))
	}
	return e.Concat(1, ts...)
}

func (e *emit) stackA(segs []segment) hlo.Value {
	as := make([]hlo.Value, len(segs))
	for i, s := range segs {
		as[i] = e.weight(s.a)
	}
	return e.Concat(0, as...)
}

// backward takes the gradients of the pieces, in the compute dtype, records the gradients of what is trained and
// returns that of x [T,in] in the dtype of products, or as it was reduced. t is what forward returned.
func (l linear) backward(e *emit, x, tTR hlo.Value, dPieces ...hlo.Value) hlo.Value {
	dyTN := e.Concat(1, dPieces...)
	if l.columns {
		dyTN = e.whole(l.name+", backward", dyTN)
		return l.backwardHere(e, x, tTR, dyTN)
	}
	return e.reduced(l.name+", backward", l.backwardHere(e, e.whole(l.name+", input", x), tTR, dyTN))
}

// backwardHere is backward of this part's product, without collectives.
func (l linear) backwardHere(e *emit, x, tTR, dyTN hlo.Value) hlo.Value {
	dx := e.product(dyTN, 1, e.weight(l.weight), 0)
	if e.cfg.Full {
		e.grad(l.weight, e.TN(dyTN, x))
		if l.bias >= 0 {
			e.grad(l.bias, e.Sum(e.F32(dyTN), 0))
		}
	}
	segs := l.adapted()
	if segs == nil {
		return dx
	}
	ss := l.backwardB(e, segs, tTR, dyTN)
	if !e.dropKey.Valid() {
		sTR := e.Concat(1, ss...)
		dA := e.crossed(sTR, x)
		at := 0
		for _, s := range segs {
			e.grad(s.a, e.Slice(dA, 0, at, at+s.Dim))
			at += s.Dim
		}
		return e.Add(dx, e.product(sTR, 1, e.stackA(segs), 0))
	}
	for i, s := range segs {
		e.grad(s.a, e.crossed(ss[i], l.drop(e, x, s.a)))
		dx = e.Add(dx, l.drop(e, e.product(ss[i], 1, e.weight(s.a), 0), s.a))
	}
	return dx
}

// backwardB records the gradient of every B and returns scale * dy B [T,Dim] of every segment, in the compute dtype.
func (l linear) backwardB(e *emit, segs []segment, tTR, dyTN hlo.Value) []hlo.Value {
	if e.cfg.Target == CUDA {
		return l.backwardStackedB(e, segs, tTR, dyTN)
	}
	ss := make([]hlo.Value, len(segs))
	at := 0
	for i, s := range segs {
		dy := e.Slice(dyTN, 1, s.from, s.to)
		t := e.Slice(tTR, 1, at, at+s.Dim)
		at += s.Dim
		// B^T's gradient is the product that is fast on CPU; the barrier keeps XLA from turning it round.
		e.grad(s.b, e.Transpose(e.Barrier(e.Scale(e.crossed(t, dy), s.Scale)), 1, 0))
		ss[i] = e.c(e.Scale(e.NN(dy, e.weight(s.b)), s.Scale))
	}
	return ss
}
