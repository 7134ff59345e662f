package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// A block's adapters as its products take them, all put together in the compute dtype by one kernel at the start of each
// program. Piece by piece, as stacked.go does, they are a dozen launches of next to no work.

// stacks are those of a block's linears, by their names; the gated MLP's kernel takes its own of B of gate and up, and of
// A of down. What is not there is put together where it is needed.
type stacks struct {
	a, b           map[string]hlo.Value
	gatedB, gatedA hlo.Value
}

// stack fills e.stacks. It is for programs with kernels and without dropout, whose masks are each adapter's own.
func (b block) stack(e *emit) {
	if !e.cfg.Kernels || e.cfg.Dropout > 0 {
		return
	}
	e.stacks = stacks{a: map[string]hlo.Value{}, b: map[string]hlo.Value{}}
	var matrices []kernels.Matrix
	var tensors []hlo.Value
	var keep []func(hlo.Value)
	want := func(m kernels.Matrix, of []hlo.Value, to func(hlo.Value)) {
		if len(m.Pieces) > 0 {
			matrices, tensors, keep = append(matrices, m), append(tensors, of...), append(keep, to)
		}
	}
	k, gated := b.gatedKernel(e)
	for _, l := range []linear{b.qkv, b.out, b.mlp, b.down} {
		m, of := l.matrixA(e)
		if gated && k.Down > 0 && l.name == b.down.name {
			m.Rows = k.Down
			want(m, of, func(v hlo.Value) { e.stacks.gatedA = v })
		} else {
			want(m, of, func(v hlo.Value) { e.stacks.a[l.name] = v })
		}
		if gated && k.Dim > 0 && l.name == b.mlp.name {
			m, of = b.gatedMatrixB(e, k)
			want(m, of, func(v hlo.Value) { e.stacks.gatedB = v })
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

// gatedMatrixB is B of gate and up as their kernel takes it [2F,Dim].
func (b block) gatedMatrixB(e *emit, k kernels.Gated) (m kernels.Matrix, tensors []hlo.Value) {
	m.Rows, m.Cols = 2*k.Width, k.Dim
	for i, h := range b.mlp.halves() {
		if h == nil {
			continue
		}
		m.Pieces = append(m.Pieces, kernels.Piece{From: h.from, Rows: h.to - h.from, Cols: h.Dim, Row: i * k.Width, Factor: h.Scale})
		tensors = append(tensors, e.w[h.b])
	}
	return m, tensors
}
