package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/spec"
)

// Adapter is the LoRA of one linear: W + Scale * B A, with A [Dim, In] and B [Out, Dim].
type Adapter struct {
	Dim   int
	Scale float64 // alpha/dim, or alpha/sqrt(dim) with rank-stabilised LoRA
	DoRA  bool    // the rows of that have learnt lengths: a magnitude each
}

// Config says which programs to make.
type Config struct {
	Decoder  *spec.Decoder
	Compute  dtypes.DType       // of activations and frozen weights: Float32 or BFloat16
	Adapters map[string]Adapter // by module name ("model.layers.0.self_attn.q_proj")
	RateB    float64            // LoRA+: learning rate of every B as a multiple of the optimizer's; 0 = 1
	Float8   bool               // the frozen weights of the blocks' products are kept, and multiplied, in 8-bit floats; only where Float8Refused is nil
	Ends     int                // with Float8: that many blocks at either end of the decoder are as they are without
	Head8    bool               // with Float8: the loss multiplies with the head in 8-bit floats too
	OneCopy  bool               // with Float8: a block's program takes of a weight only the copy that its pass reads
	Full     bool               // full fine-tuning: every base parameter is trained, in float32
	Embed    bool               // with adapters: the embedding is trained in full, and so is a head that is one with it
	Head     bool               // with adapters: a head of its own is trained in full
	Dropout  float64            // on the input of A, or,
	DropPost bool               // if this is set, on what B gives
	Remat    Remat              // what a block saves for its backward pass
	Target   Target             // what the programs are written for
	Flash    bool               // attention by cuDNN; only where FlashRefused is nil
	Kernels  bool               // gorun's own GPU kernels; only where KernelsRefused is nil and the device has them
	Split    Split              // which part of the work is done here
}

// Remat is what is computed again in the backward pass instead of saved.
type Remat int

// The policies, from most memory to least.
const (
	RematNone      Remat = iota // save the inputs of every product
	RematSelective              // compute gate and up again: they are the widest activations
	RematFull                   // save only the block's input
)

// Role is what a parameter is to its linear or norm.
type Role int

// The roles.
const (
	Base   Role = iota // a tensor of the checkpoint, or several stacked
	Turned             // the parameter before it, in 8-bit floats, with rows for columns [In, Out]
	Unit               // what a number of the two parameters before it counts [1]
	LoraA              // [Dim, In]
	LoraB              // [Out, Dim]
	LoraM              // DoRA's magnitudes [Out]
)

// Direction is which passes of a step read a parameter, forward or backward.
type Direction int

// The directions.
const (
	Both Direction = iota
	Forward
	Backward
)

// Param is one parameter of a group, as the programs take it.
type Param struct {
	Name      string // of the first tensor, or "<module>.lora_A.weight", "<module>.lora_B.weight", "<module>.lora_magnitude_vector"
	Role      Role
	Shape     device.Shape
	Trainable bool
	Rate      float64   // of a trained one: its learning rate as a multiple of the optimizer's
	Parts     []Part    // what it is made of, stacked along axis 0; rows after them are zero
	Split     bool      // the parts of Split.Tensor hold different blocks of Parts' tensors; else all hold the same
	For       Direction // which passes read it

	shared bool // every part of Split.Tensor has a share of its gradient: the programs add them up
}

// Group is a set of parameters that programs take together: one block, or the root (embedding, final norm, head).
type Group struct {
	Name   string
	Params []Param
}

// ReadBy tells whether programs of a direction take the parameter.
func (p Param) ReadBy(d Direction) bool { return p.For == Both || p.For == d }

// read picks those of the group's parameters that programs of a direction take.
func (g Group) read(d Direction, w []*device.Buffer) (out []*device.Buffer) {
	for i, p := range g.Params {
		if p.ReadBy(d) {
			out = append(out, w[i])
		}
	}
	return out
}

// trainable lists the indexes of a group's trained parameters, the order in which gradients are returned.
func (g Group) trainable() []int {
	var out []int
	for i, p := range g.Params {
		if p.Trainable {
			out = append(out, i)
		}
	}
	return out
}

// Trainable lists a group's trained parameters, the order in which gradients are returned.
func (g Group) Trainable() []Param {
	idx := g.trainable()
	out := make([]Param, len(idx))
	for i, j := range idx {
		out[i] = g.Params[j]
	}
	return out
}
