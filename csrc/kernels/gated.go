package kernels

import _ "embed"

//go:embed tile.cuh
var tileText string

//go:embed gated.cuh
var gatedText string

//go:embed gated_forward.cu
var gatedForwardText string

//go:embed gated_backward.cu
var gatedBackwardText string

// MostDim is the greatest inner size of adapters whose products are part of a kernel. Beyond, their operands and sums no
// longer fit on the chip beside the rest, and the tensor cores would work longer on them than memory does.
const MostDim = 32

// Gated is the gated MLP between its products, over rows of Width features of gate and as many of up. Dim and Down are the
// inner sizes of the adapters of gate and up, and of down, as the kernel takes them: multiples of 16 up to MostDim, or 0
// where their products are not part of it.
type Gated struct {
	Rows, Width int // T, F
	Dim, Down   int
	Float8      bool // the gradients of gate and up come in 8-bit floats; it needs sm_89
}

// Padded is the inner size, a multiple of 16, that a kernel takes for adapters of a dim of at most MostDim: what is
// added is zeros.
func Padded(dim int) int { return (dim + 15) / 16 * 16 }

// Fits tells whether there are kernels for the sizes.
func (g Gated) Fits() bool {
	small := func(dim int) bool { return dim%16 == 0 && dim >= 0 && dim <= MostDim }
	return g.Rows > 0 && g.Width > 0 && g.Width%32 == 0 && small(g.Dim) && small(g.Down)
}

// warps is how many strips of 32 columns a block takes side by side. Beyond dim 16 it is half as many: a block's operands
// then stay below the 99 KB of shared memory that the smallest of the GPUs give it.
func (g Gated) warps() int {
	n := 8
	if max(g.Dim, g.Down) > 16 {
		n = 4
	}
	for ; n > 1 && g.Width%(32*n) != 0; n /= 2 {
	}
	return n
}

// Blocks is how many blocks stand side by side: as many parts sums along columns come in.
func (g Gated) Blocks() int { return g.Width / (32 * g.warps()) }

// gatedResident is how many blocks of the kernels run at once on a multiprocessor.
const gatedResident = 2

// multiprocessors is how many of them an H100 has; with others the last blocks merely end at different times.
const multiprocessors = 132

// Groups is how many groups of rows there are: as many parts sums along rows come in. It is the number, of at most 16,
// with which blocks fill the device's slots with the least left over, and the smallest of those.
func (g Gated) Groups() int { return spread(g.Blocks(), (g.Rows+15)/16, gatedResident) }

// spread is the number of groups of rows for blocks side by side, of which so many run at once on a multiprocessor.
func spread(side, tiles, resident int) int {
	slots := multiprocessors * resident
	best, full := 1, 0.0
	for n := 1; n <= min(16, tiles); n++ {
		blocks := side * n
		waves := (blocks + slots - 1) / slots
		if share := float64(blocks) / float64(waves*slots); share > full+0.005 {
			best, full = n, share
		}
	}
	return best
}

func (g Gated) call(name, text string, words int, more map[string]any) Call {
	w := g.warps()
	constants := map[string]any{
		"T": g.Rows, "F": g.Width, "DIM": g.Dim, "DOWN": g.Down,
		"WARPS": w, "THREADS": 32 * w, "GROUPS": g.Groups(), "BLOCKS": gatedResident,
		"FLOAT8": flag(g.Float8), "SIDE": g.Blocks(),
	}
	for k, v := range more {
		constants[k] = v
	}
	return Call{
		Name: name, Text: define(float8Text+tileText+tile8Text+gatedText+text, constants),
		Grid: [2]int{g.Blocks(), g.Groups()}, Threads: 32 * w, Shared: 4 * words,
	}
}

// operand is the words that a warp keeps of 16 inner places of a low-rank matrix.
const operand = 256

// Forward takes gu [T,2F]; with Dim t [T,2*Dim] and b [2F,Dim]; with Down a [Down,F]. It gives m [T,F] and, with Down, the
// parts of m a^T [Blocks,T,Down]. All are bfloat16. With Float8 m is in E4M3, with the units of its rows' Blocks parts after
// it [T,Blocks] float32, and last come the greatest magnitudes in parts of gate and up [Strips] float32.
func (g Gated) Forward() Call {
	w := g.warps()
	words := w*(2*g.Dim/16+g.Down/16)*operand + 2*w*16*(g.Down+flag(g.Float8))
	return g.call("gated_forward", gatedForwardText, words, nil)
}

// Strips is how many parts the greatest magnitude of gate and up comes in.
func (g Gated) Strips() int { return g.Blocks() * g.Groups() * g.warps() }

// Backward takes gu; with Dim t and b; dm [T,F], with Float8 in units of its rows, and those [T] float32; with Down s
// [T,Down] and a; with Float8 the reciprocal of the unit of gu's gradient [] float32. It gives the gradient of gu, with Float8 in E5M2; with Down the
// parts of A's gradient [Groups,Down,F] float32; with Dim those of B's, transposed [Groups,2,Dim,F] float32, and the parts
// of t's [Blocks,T,2*Dim]; and, if product is set, m [T,F].
func (g Gated) Backward(product bool) Call {
	w := g.warps()
	words := w*(4*g.Dim/16+g.Down/16)*operand + 2*w*32*g.Dim
	return g.call("gated_backward", gatedBackwardText, words, map[string]any{"PRODUCT": flag(product)})
}
