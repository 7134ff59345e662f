package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// A block's adapters as its products take them, all put together in the compute dtype by one kernel at the start of each
// program. Piece by piece, as stacked.go does, they are a dozen launches of next to no work.

// stacks are those of a block's linears, by their names. Where a kernel has a product's adapters inside, it takes their B
// by pieces, and of the down projection A. Without kernels, or with dropout, whose masks are each adapter's own, they are
// empty, and products put together what they need.
type stacks struct {
	a, b, pieces map[string]hlo.Value
	downA        hlo.Value // [Down,F]
}

// stack fills e.stacks.
func (b block) stack(e *emit) {
	if !e.cfg.Kernels || e.cfg.Dropout > 0 {
		return
	}
	e.stacks = stacks{a: map[string]hlo.Value{}, b: map[string]hlo.Value{}, pieces: map[string]hlo.Value{}}
	var matrices []kernels.Matrix
	var tensors []hlo.Value
	var keep []func(hlo.Value)
	want := func(m kernels.Matrix, of []hlo.Value, to func(hlo.Value)) {
		if len(m.Pieces) > 0 {
			matrices, tensors, keep = append(matrices, m), append(tensors, of...), append(keep, to)
		}
	}
	inside := map[string]int{} // dims of the products whose B a kernel takes by pieces
	gated, ok := b.gatedKernel(e)
	if ok {
		inside[b.mlp.name] = gated.Dim
	} else {
		gated.Down = 0
	}
	if k, ok := b.rotaryKernel(e); ok {
		inside[b.qkv.name] = k.Dim
	}
	for _, l := range []linear{b.qkv, b.out, b.mlp, b.down} {
		m, of := l.matrixA(e)
		if gated.Down > 0 && l.name == b.down.name {
			m.Rows = gated.Down
			want(m, of, func(v hlo.Value) { e.stacks.downA = v })
		} else {
			want(m, of, func(v hlo.Value) { e.stacks.a[l.name] = v })
		}
		if dim := inside[l.name]; dim > 0 {
			m, of = l.matrixPieces(e, dim)
			want(m, of, func(v hlo.Value) { e.stacks.pieces[l.name] = v })
		} else {
			m, of = l.matrixB(e)
			want(m, of, func(v hlo.Value) { e.stacks.b[l.name] = v })
		}
	}
	if len(matrices) == 0 {
		return
	}
	for i, v := range e.Stack(matrices, tensors) {
		keep[i](v)
	}
}

// matrixA is A of all segments [sum of dims, in].
func (l linear) matrixA(e *emit) (m kernels.Matrix, tensors []hlo.Value) {
	m.Cols = l.in
	for _, s := range l.adapted() {
		m.Pieces = append(m.Pieces, kernels.Piece{Rows: s.Dim, Cols: l.in, Row: m.Rows, Factor: 1})
		m.Rows += s.Dim
		tensors = append(tensors, e.w[s.a])
	}
	return m, tensors
}

// matrixB is stackB's.
func (l linear) matrixB(e *emit) (m kernels.Matrix, tensors []hlo.Value) {
	m.Rows = l.out
	for _, s := range l.adapted() {
		m.Pieces = append(m.Pieces, kernels.Piece{Rows: s.to - s.from, Cols: s.Dim, Row: s.from, Col: m.Cols, Factor: s.Scale})
		m.Cols += s.Dim
		tensors = append(tensors, e.w[s.b])
	}
	return m, tensors
}

// matrixPieces is B by pieces [N,dim].
func (l linear) matrixPieces(e *emit, dim int) (m kernels.Matrix, tensors []hlo.Value) {
	m.Rows, m.Cols = l.out, dim
	for _, p := range l.portions() {
		if p == nil {
			continue
		}
		m.Pieces = append(m.Pieces, kernels.Piece{From: p.from, Rows: p.to - p.from, Cols: p.Dim, Row: p.first, Factor: p.Scale})
		tensors = append(tensors, e.w[p.b])
	}
	return m, tensors
}
