package kernels

import (
	_ "embed"
)

//go:embed stack.cu
var stackText string

// Piece is a part of a matrix: Rows rows of Cols numbers of a float32 tensor whose rows have Cols numbers, from row From
// on, times Factor, from the matrix's row Row and column Col on.
type Piece struct {
	From, Rows, Cols int
	Row, Col         int
	Factor           float64
}

// Matrix is one that is put together of pieces, which do not overlap, and is zero elsewhere.
type Matrix struct {
	Rows, Cols int
	Pieces     []Piece
}

// stackEach is how many elements a thread puts in its place or adds up, one after the other: what it waits for is memory,
// so many threads with few each.
const stackEach = 2

// Stack puts matrices together in one launch: it takes the tensor of each piece, in the order of matrices and pieces, and
// gives the matrices in bfloat16.
func Stack(matrices []Matrix) Call {
	t := Tensors{each: stackEach}
	var columns, at, wide, top, bottom, left, right []int
	var factors []string
	first := []int{0}
	for _, m := range matrices {
		t.Sizes, columns = append(t.Sizes, m.Rows*m.Cols), append(columns, m.Cols)
		for _, p := range m.Pieces {
			at, wide = append(at, p.From*p.Cols), append(wide, p.Cols)
			top, bottom = append(top, p.Row), append(bottom, p.Row+p.Rows)
			left, right = append(left, p.Col), append(right, p.Col+p.Cols)
			factors = append(factors, number(p.Factor))
		}
		first = append(first, len(at))
	}
	return t.call("stack", stackText, map[string]any{
		"PIECE": list(first), "COLUMNS": list(columns), "PIECES": len(at), "AT": list(at), "WIDE": list(wide), "TOP": list(top),
		"BOTTOM": list(bottom), "LEFT": list(left), "RIGHT": list(right), "FACTOR": list(factors),
	})
}
