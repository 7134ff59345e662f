package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// On a GPU the adapters of a fused product are one product too. Each segment's B stands in its own rows and columns of a
// matrix that is zero elsewhere, so that one product gives all segments' deltas, as wide as the base's result; taken one
// by one, XLA would copy every segment of the wide matrices out first. The zeros cost nothing beside reading the
// operands.

// stackB is scale * B of every segment [N, sum of dims], zero outside the segment's rows and columns.
func (l linear) stackB(e *emit, segs []segment) hlo.Value {
	if b, ok := e.stacks.b[l.name]; ok {
		return b
	}
	total := 0
	for _, s := range segs {
		total += s.Dim
	}
	blocks, at := make([]hlo.Value, len(segs)), 0
	for i, s := range segs {
		b := e.Pad(e.Scale(e.w[s.b], s.Scale), 0, s.from, l.out-s.to)
		blocks[i] = e.Pad(b, 1, at, total-at-s.Dim)
		at += s.Dim
	}
	sum := blocks[0]
	for _, b := range blocks[1:] {
		sum = e.Add(sum, b)
	}
	return e.c(sum)
}

// backwardStackedB is backwardB in two products for all segments.
func (l linear) backwardStackedB(e *emit, segs []segment, tTR, dyTN hlo.Value) []hlo.Value {
	dB := e.TN(dyTN, tTR) // [N, sum of dims], of which each segment wants its own rows and columns
	sTR := e.c(e.product(dyTN, 1, l.stackB(e, segs), 0))
	ss, at := make([]hlo.Value, len(segs)), 0
	for i, s := range segs {
		if e.sharing() {
			e.share(s.b, share{Share: kernels.Share{Rows: s.to - s.from, Parts: 1, Height: l.out, Wide: dB.Dim(1), FromRow: s.from, FromCol: at, Factor: s.Scale}, from: dB})
		} else {
			own := e.Slice(e.Slice(dB, 0, s.from, s.to), 1, at, at+s.Dim)
			e.grad(s.b, e.Scale(own, s.Scale))
		}
		ss[i] = e.Slice(sTR, 1, at, at+s.Dim)
		at += s.Dim
	}
	return ss
}
