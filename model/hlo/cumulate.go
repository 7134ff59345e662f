package hlo

import "github.com/gomlx/compute/dtypes"

// Cumulate is the sum of the rows of x [N,M] float32 up to each, itself included. It is two products with triangles of
// ones, within runs of rows and over the runs: XLA has no operation for it, and adding up shifted copies of x, as others do,
// compiles slowly.
func (g *Graph) Cumulate(x Value) Value {
	rows, m := x.Dim(0), x.Dim(1)
	run := 1
	for run*run < rows {
		run *= 2
	}
	runs := (rows + run - 1) / run
	x = g.Reshape(g.Pad(x, 0, 0, runs*run-rows), runs, run, m)
	within := g.Transpose(g.Dot(g.triangle(run, ">="), 1, x, 1, 0), 1, 0, 2)
	before := g.Dot(g.triangle(runs, ">"), 1, g.Reshape(g.Slice(within, 1, run-1, run), runs, m), 0, 0)
	all := g.Add(within, g.Like(before, within, 0, 2))
	return g.Slice(g.Reshape(all, runs*run, m), 0, 0, rows)
}

// triangle is [n,n] float32: ones where row <op> column, else zeros.
func (g *Graph) triangle(n int, op string) Value {
	row, col := g.Iota(dtypes.Int32, 0, n, n), g.Iota(dtypes.Int32, 1, n, n)
	return g.To(g.Compare(row, op, col), dtypes.Float32)
}
