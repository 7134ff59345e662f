package kernels

import _ "embed"

//go:embed turned.cuh
var turnedText string

//go:embed turned_forward.cu
var turnedForwardText string

//go:embed turned_backward.cu
var turnedBackwardText string

// Turned is Rotary with the adapters of q, k and v inside, where whole heads are turned. Dim is their inner size as the
// kernels take it, a multiple of 16 up to MostDim.
type Turned struct {
	Rotary
	Dim    int
	Float8 bool // the gradient of the product comes in 8-bit floats; it needs sm_89
}

// Fits tells whether there are kernels for the sizes.
func (r Turned) Fits() bool {
	return r.Rows > 0 && r.Turned == r.Width && r.Width%64 == 0 && r.Dim > 0 && r.Dim%16 == 0 && r.Dim <= MostDim
}

// warps is how many strips of 64 columns a block takes; q and k have a multiple of them.
func (r Turned) warps() int {
	for n := 8; n > 1; n /= 2 {
		if r.KV*r.Width/64%n == 0 && r.Heads*r.Width/64%n == 0 {
			return n
		}
	}
	return 1
}

// BlocksOf is how many blocks stand side by side for that many heads: as many parts sums along their columns come in.
func (r Turned) BlocksOf(heads int) int { return heads * r.Width / 64 / r.warps() }

func (r Turned) blocks() int { return r.BlocksOf(r.Heads + 2*r.KV) }

// resident is how many blocks of the kernels run at once on a multiprocessor.
func (r Turned) resident() int {
	if r.Dim > 16 {
		return 1
	}
	return 2
}

// Groups is how many groups of rows there are: as many parts sums along rows come in.
func (r Turned) Groups() int { return spread(r.blocks(), (r.Rows+15)/16, r.resident()) }

func (r Turned) call(name, text string, words int, constants map[string]any) Call {
	w := r.warps()
	constants["T"], constants["DIM"], constants["WARPS"], constants["GROUPS"] = r.Rows, r.Dim, w, r.Groups()
	constants["HEADS"], constants["KV"], constants["E"] = r.Heads, r.KV, r.Width
	constants["THREADS"], constants["BLOCKS"], constants["FLOAT8"] = 32*w, r.resident(), flag(r.Float8)
	return Call{Name: name, Text: define(float8Text+tileText+tile8Text+turnedText+text, constants), Grid: [2]int{r.blocks(), r.Groups()}, Threads: 32 * w, Shared: 4 * words}
}

// Forward takes the product [T,(Heads+2*KV)*Width], t [T,3*Dim], b [(Heads+2*KV)*Width,Dim] (bfloat16), with bias that of
// the product's columns (float32), and cosine and sine [T,Width/2] float32; it gives q, k and v as Rotary.
func (r Turned) Forward(bias bool) Call {
	words := r.warps() * 2 * r.Dim / 16 * operand
	return r.call("turned_forward", turnedForwardText, words, map[string]any{"BIAS": flag(bias)})
}

// Backward takes the gradients of q, k and v, t, b, cosine and sine, and with Float8 the reciprocal of the unit of the
// product's gradient [] float32; it gives that gradient, with Float8 in E4M3, the parts of B's,
// turned [Groups,Dim,(Heads+2*KV)*Width] float32, and the parts of t's [blocks,T,Dim], of q's blocks first, then k's, then
// v's.
func (r Turned) Backward() Call {
	w := r.warps()
	words := w*2*r.Dim/16*operand + 2*w*16*r.Dim
	return r.call("turned_backward", turnedBackwardText, words, map[string]any{})
}
