package kernels

import _ "embed"

//go:embed entropy.cu
var entropyText string

// Entropy is the cross-entropy of rows of logits.
type Entropy struct {
	Rows, Vocab int
	Float8      bool // the gradient comes in 8-bit floats; it needs sm_89
}

// Fits tells whether there is a kernel for the sizes.
func (n Entropy) Fits() bool { return n.Rows > 0 && n.Vocab > 0 && n.Vocab%8 == 0 }

// Call takes logits [Rows,Vocab] bfloat16 and labels [Rows] int32, negative where a row counts nothing; it gives the
// gradient of the summed losses by the logits, whose memory may be theirs, with Float8 in E5M2 in units of 2^-14, and each
// label's log-probability [Rows] float32, 0 where it counts nothing.
func (n Entropy) Call() Call {
	threads := min(1024, max(1, (n.Vocab/32+31)/32)*32)
	constants := map[string]any{"V": n.Vocab, "THREADS": threads, "BLOCKS": max(1, 1024/threads), "FLOAT8": flag(n.Float8)}
	return Call{Name: "entropy", Text: define(rowText+float8Text+entropyText, constants), Grid: [2]int{n.Rows, 1}, Threads: threads, Shared: threads / 32 * 8}
}
