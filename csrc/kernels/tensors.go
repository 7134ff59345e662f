package kernels

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed tensors.cuh
var tensorsText string

//go:embed squares.cu
var squaresText string

//go:embed adam.cu
var adamText string

// MostTensors is how many tensors one launch takes: their pointers, seven of each for Adam, are parameters of the kernel,
// which has 4 KiB of them.
const MostTensors = 64

// Tensors is work on a list of float32 tensors in one launch. Sizes are their numbers of elements.
type Tensors struct {
	Sizes []int

	each int // elements of a thread; 0 = 16
}

// Fits tells whether there are kernels for the list.
func (t Tensors) Fits() bool {
	for _, n := range t.Sizes {
		if n < 1 || n > 1<<30 {
			return false
		}
	}
	return len(t.Sizes) > 0 && len(t.Sizes) <= MostTensors
}

const tensorThreads = 256

func (t Tensors) chunk() int {
	if t.each > 0 {
		return tensorThreads * t.each
	}
	return tensorThreads * 16
}

// Blocks is how many parts the sum of squares comes in.
func (t Tensors) Blocks() int {
	n := 0
	for _, size := range t.Sizes {
		n += t.blocksOf(size)
	}
	return n
}

func (t Tensors) blocksOf(size int) int { return (size + t.chunk() - 1) / t.chunk() }

func (t Tensors) call(name, text string, constants map[string]any) Call {
	first := make([]int, len(t.Sizes))
	for i := range t.Sizes[1:] {
		first[i+1] = first[i] + t.blocksOf(t.Sizes[i])
	}
	constants["COUNT"], constants["FIRST"], constants["SIZES"] = len(t.Sizes), list(first), list(t.Sizes)
	constants["THREADS"], constants["EACH"], constants["BLOCKS"] = tensorThreads, t.chunk()/tensorThreads, 4
	return Call{Name: name, Text: define(tensorsText+text, constants), Grid: [2]int{t.Blocks(), 1}, Threads: tensorThreads, Shared: tensorThreads / 32 * 4}
}

// list writes numbers as C initialises an array with them.
func list[T any](v []T) string {
	text := make([]string, len(v))
	for i, x := range v {
		text[i] = fmt.Sprint(x)
	}
	return "{" + strings.Join(text, ", ") + "}"
}

// Squares takes the tensors and gives the sum of the squares of all their elements, in parts [Blocks] float32.
func (t Tensors) Squares() Call { return t.call("squares", squaresText, map[string]any{}) }

// Adam is the optimizer's rule.
type Adam struct {
	Decoupled                bool // weight decay acts on the parameter (AdamW), not on the gradient
	Beta1, Beta2, Eps, Decay float64
	Rates                    []float64 // each tensor's learning rate, in multiples of the step's
}

// Adam takes the parameters, their first and second moments and their gradients, all the tensors of each one after the
// other, then hyper [3] (the step's learning rate, 1 - Beta1^step, 1 - Beta2^step) and what gradients are multiplied by
// []; it gives the next parameters and moments, whose memory may be that of the old.
func (t Tensors) Adam(a Adam) Call {
	rates := make([]string, len(a.Rates))
	for i, r := range a.Rates {
		rates[i] = number(r)
	}
	return t.call("adam", adamText, map[string]any{
		"DECOUPLED": flag(a.Decoupled), "BETA1": number(a.Beta1), "REST1": number(1 - a.Beta1), "BETA2": number(a.Beta2), "REST2": number(1 - a.Beta2),
		"EPS": number(a.Eps), "DECAY": number(a.Decay), "RATES": list(rates),
	})
}
