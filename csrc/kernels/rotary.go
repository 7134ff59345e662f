package kernels

import _ "embed"

//go:embed rotary.cuh
var rotaryText string

//go:embed rotary_forward.cu
var rotaryForwardText string

//go:embed rotary_backward.cu
var rotaryBackwardText string

// Rotary takes the fused product of q, k and v apart and turns q and k by their positions.
type Rotary struct {
	Rows             int // T
	Heads, KV, Width int // query heads, key and value heads, numbers of a head
	Turned           int // numbers of a head that are turned; 0 = none
}

// Fits tells whether there are kernels for the sizes.
func (r Rotary) Fits() bool {
	return r.Rows > 0 && r.Width%8 == 0 && r.Turned%16 == 0 && r.Turned <= r.Width
}

func (r Rotary) call(name, text string, constants map[string]any) Call {
	const threads = 128
	constants["HEADS"], constants["KV"], constants["E"], constants["ROT"] = r.Heads, r.KV, r.Width, r.Turned
	constants["THREADS"], constants["BLOCKS"] = threads, 8
	return Call{Name: name, Text: define(rowText+rotaryText+text, constants), Grid: [2]int{r.Rows, 1}, Threads: threads}
}

// Forward takes the product [T,(Heads+2*KV)*Width], with bias that of its columns (float32), and cosine and sine
// [T,Turned/2] float32; it gives q [T,Heads*Width], k and v [T,KV*Width].
func (r Rotary) Forward(bias bool) Call {
	return r.call("rotary_forward", rotaryForwardText, map[string]any{"BIAS": flag(bias)})
}

// Backward takes the gradients of q, k and v, cosine and sine; it gives the product's.
func (r Rotary) Backward() Call {
	return r.call("rotary_backward", rotaryBackwardText, map[string]any{})
}
