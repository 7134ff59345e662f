package kernels

import (
	_ "embed"
)

//go:embed row.cuh
var rowText string

//go:embed greatest.cuh
var greatestText string

//go:embed norm.cuh
var normText string

//go:embed norm_forward.cu
var normForwardText string

//go:embed norm_backward.cu
var normBackwardText string

// Norm is RMSNorm of rows of Width numbers, with the addition to the residual stream before it or after its gradient.
type Norm struct {
	Rows, Width int // T, D
	Eps         float64
	Float8      bool // besides comes what a product in 8-bit floats wants; it needs sm_89
}

// Fits tells whether there are kernels for the sizes.
func (n Norm) Fits() bool { return n.Rows > 0 && n.Width > 0 && n.Width%8 == 0 && n.Width <= 32768 }

// threads is what a row gets: two eights each, as far as a block goes.
func (n Norm) threads() int { return min(1024, max(1, (n.Width/16+31)/32)*32) }

func (n Norm) call(name, text string, constants map[string]any) Call {
	t := n.threads()
	constants["D"], constants["THREADS"], constants["EACH"] = n.Width, t, (n.Width/8+t-1)/t
	constants["BLOCKS"], constants["EPS"] = max(1, 1024/t), number(n.Eps)
	constants["FLOAT8"] = flag(n.Float8)
	return Call{Name: name, Text: define(rowText+float8Text+greatestText+normText+text, constants), Grid: [2]int{n.Rows, 1}, Threads: t, Shared: t / 32 * 8}
}

// Forward takes x [T,D], with add y [T,D], and the weight [D]; it gives, with add, x + y, and the norm of that or of x.
// All are bfloat16. With Float8 it also takes the reciprocal of the norm's unit [] float32, and gives the norm in E4M3 too.
func (n Norm) Forward(add bool) Call {
	return n.call("norm_forward", normForwardText, map[string]any{"ADD": flag(add)})
}

// Backward takes the norm's gradient, x, what is to be added [T,D] and the weight [D]; it gives the sum of that and of the
// gradient of x, and the reciprocal root mean square of each row [T] float32. With Float8 it also gives the greatest
// magnitude in each row of that sum [T] float32.
func (n Norm) Backward() Call { return n.call("norm_backward", normBackwardText, map[string]any{}) }

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
