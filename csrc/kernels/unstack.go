package kernels

import (
	_ "embed"
)

//go:embed unstack.cu
var unstackText string

// Share is whole rows of a matrix, from row Row on, Rows of them: what the source [Parts,Height,Wide] has from row FromRow
// and column FromCol on, its parts added up, times Factor, and, column by column, times weight number Weight unless that
// is -1.
type Share struct {
	Row, Rows           int
	Parts, Height, Wide int
	FromRow, FromCol    int
	Factor              float64
	Weight              int
}

// Out is a matrix that is taken out of larger ones: of shares that cover its rows. If it is Turned they have its columns
// for rows.
type Out struct {
	Rows, Cols int
	Turned     bool
	Shares     []Share
}

// Unstack takes matrices out of larger ones in one launch: it takes the source of each share (float32), in the order of
// matrices and shares, then the weights (bfloat16), of which there are so many, and gives the matrices in float32.
func Unstack(matrices []Out, weights int) Call {
	t := Tensors{each: stackEach}
	var columns, turned, at, wide, parts, stride, top, bottom, weight []int
	var factors []string
	first := []int{0}
	for _, m := range matrices {
		t.Sizes, columns, turned = append(t.Sizes, m.Rows*m.Cols), append(columns, m.Cols), append(turned, flag(m.Turned))
		for _, s := range m.Shares {
			at, wide = append(at, s.FromRow*s.Wide+s.FromCol), append(wide, s.Wide)
			parts, stride = append(parts, s.Parts), append(stride, s.Height*s.Wide)
			top, bottom = append(top, s.Row), append(bottom, s.Row+s.Rows)
			weight, factors = append(weight, s.Weight), append(factors, number(s.Factor))
		}
		first = append(first, len(at))
	}
	return t.call("unstack", unstackText, map[string]any{
		"PIECE": list(first), "COLUMNS": list(columns), "TURNED": list(turned), "PIECES": len(at), "AT": list(at), "WIDE": list(wide),
		"PARTS": list(parts), "STRIDE": list(stride), "TOP": list(top), "BOTTOM": list(bottom), "FACTOR": list(factors),
		"WEIGHT": list(weight), "WEIGHTS": weights,
	})
}
