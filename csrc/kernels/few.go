package kernels

import (
	_ "embed"
)

//go:embed few.cuh
var fewHead string

//go:embed few.cu
var fewText string

// Few is the product of a few rows with a matrix, as generation makes a token of every text: its time is that of reading
// the matrix.
type Few struct {
	Rows, In, Out int     // x [Rows,In], w [Out,In], or, if Gated, [2*Out,In]
	Norm          bool    // of RMSNorm of x
	Eps           float64 // with Norm
	Dim           int     // of adapters whose share is added, at most MostDim; 0 = none
	Pieces        []int   // with Dim: how many rows of w each piece of a fused product has
	Bias          bool
	Gated         bool // silu(first half) * second half of w's rows
	Add           bool // to the residual stream
	Wide          bool // gives float32, else bfloat16
}

// mostFew is how many rows are a few: beyond, the products with each number of the matrix take longer than reading it.
const mostFew = 8

// mostShared is the dynamic shared memory that every GPU since sm_80 gives a block.
const mostShared = 99 << 10

const (
	fewThreads = 256
	fewLines   = 2 // rows of w that a warp reads at once
	fewAhead   = 4
)

// Fits tells whether there is a kernel for the sizes.
func (f Few) Fits() bool {
	return f.Rows >= 1 && f.Rows <= mostFew && f.Out > 0 && f.In > 0 && f.In%8 == 0 && f.Dim <= MostDim && f.shared() <= mostShared
}

func (f Few) shared() int { return f.Rows*f.In*2 + f.Rows*fewThreads/32*4 }

// Call takes x; with Norm the weight [In]; w; with Dim t [Rows,len(Pieces)*Dim] float32 and b [rows of w,Dim]; with Bias
// that [rows of w]; with Add what to add to [Rows,Out]. It gives [Rows,Out]. What is not said to be float32 is bfloat16.
func (f Few) Call() Call {
	columns := fewLines
	if f.Gated {
		columns /= 2
	}
	block := fewThreads / 32 * columns
	loops := max(1, f.Out/block/2048) // x is read once for all of them
	cuts := []int{0}
	for _, rows := range f.Pieces[:max(0, len(f.Pieces)-1)] {
		cuts = append(cuts, cuts[len(cuts)-1]+rows)
	}
	out := "bf16"
	if f.Wide {
		out = "float"
	}
	constants := map[string]any{
		"R": f.Rows, "K": f.In, "N": f.Out, "ROWS": columns, "LOOPS": loops, "AHEAD": fewAhead, "THREADS": fewThreads, "BLOCKS": 2,
		"NORM": flag(f.Norm), "EPS": number(f.Eps), "DIM": f.Dim, "CUT_LIST": list(cuts), "CUT_COUNT": len(cuts),
		"BIAS": flag(f.Bias), "GATED": flag(f.Gated), "ADD": flag(f.Add), "OUT": out,
	}
	return Call{Name: "few", Text: define(rowText+fewHead+fewText, constants), Grid: [2]int{(f.Out + block*loops - 1) / (block * loops), 1}, Threads: fewThreads, Shared: f.shared()}
}
