package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// A kernel that has a product's wide result takes the product's adapters by its pieces (q, k, v; gate, up): t with each
// piece's columns side by side, all Dim wide, and B with each row's own, so that a piece is one low-rank product however
// the checkpoint divides it into linears.

// kernelDim is the inner size with which the linear's adapters go into a kernel; 0 if there are none or they are too
// large.
func (l linear) kernelDim(e *emit) int {
	if e.cfg.Dropout > 0 { // each adapter has its own input
		return 0
	}
	most := 0
	for _, s := range l.adapted() {
		most = max(most, s.Dim)
	}
	if most > kernels.MostDim {
		return 0
	}
	return kernels.Padded(most)
}

// portion is what one piece of a fused product has of an adapter.
type portion struct {
	segment
	first    int // the piece's first column in the product
	from, to int // which of the segment's rows of B
	at       int // where the segment's columns of t begin
	place    int // of the segment among the adapted ones
}

// portions are the pieces' adapters; nil where a piece has none. A fused linear's adapter is that of several.
func (l linear) portions() []*portion {
	out := make([]*portion, len(l.splits))
	at := 0
	for i, s := range l.adapted() {
		first := 0
		for n, width := range l.splits {
			if s.from <= first && first+width <= s.to {
				out[n] = &portion{s, first, first - s.from, first + width - s.from, at, i}
			}
			first += width
		}
		at += s.Dim
	}
	return out
}

// lowByPieces lays t and B by pieces: [T,pieces*dim] and [N,dim].
func (l linear) lowByPieces(e *emit, dim int, tTR hlo.Value) (t, b hlo.Value) {
	ts := make([]hlo.Value, len(l.splits))
	for i, p := range l.portions() {
		if p == nil {
			ts[i] = e.Full(e.cfg.Compute, 0, tTR.Dim(0), dim)
		} else {
			ts[i] = e.Pad(e.Slice(tTR, 1, p.at, p.at+p.Dim), 1, 0, dim-p.Dim)
		}
	}
	return e.Concat(1, ts...), e.stacks.pieces[l.name]
}

// shareByPieces records the gradients of B, which come in parts and turned: piece i's from row i*step on or, with step 0,
// from the piece's own column on. It returns the gradients of t by segments, of those by pieces [T,dim].
func (l linear) shareByPieces(e *emit, parts hlo.Value, step int, lows []hlo.Value) []hlo.Value {
	ss := make([]hlo.Value, len(l.adapted()))
	for i, p := range l.portions() {
		if p == nil {
			continue
		}
		from := kernels.Share{Row: p.from, Rows: p.to - p.from, Parts: parts.Dim(0), Height: parts.Dim(1), Wide: parts.Dim(2), Factor: p.Scale}
		if from.FromRow = i * step; step == 0 {
			from.FromCol = p.first
		}
		e.share(p.b, share{Share: from, from: parts, turned: true})
		s := e.Slice(lows[i], 1, 0, p.Dim)
		if ss[p.place].Valid() {
			s = e.Add(ss[p.place], s)
		}
		ss[p.place] = s
	}
	for i := range ss {
		ss[i] = e.c(ss[i])
	}
	return ss
}
