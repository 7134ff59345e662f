package model

import (
	"errors"
	"fmt"

	"gorun/model/hlo"
	"gorun/model/spec"
)

// Axis is one way in which a model's work is split: into how many parts, and which of them this one is. The parts run
// alike programs at the same time, each on a device of its own, with collectives inside the programs.
type Axis struct {
	Parts int // 0 or 1 = not split
	Index int
	Comm  int32 // number of the communicator among the parts; see device.Client.Communicate
}

func (a Axis) split() bool { return a.Parts > 1 }

// of is this part's share of n.
func (a Axis) of(n int) int { return n / max(1, a.Parts) }

func (a Axis) comm() hlo.Communicator { return hlo.Communicator{Parts: a.Parts, Number: a.Comm} }

// Split says which part of the model's work is done here. Losses, counts of valid tokens and gradients come out the same
// on all parts of Tensor, or, where a parameter is split, for this part of it. Over the parts of Context they are shares
// of a sum that the caller takes.
type Split struct {
	Tensor   Axis // query, key and value heads, the MLP's features, the vocabulary
	Context  Axis // tokens of each row
	Sequence bool // the parts of Tensor also hold the tokens of the residual stream in parts
}

// Check names all sizes of a decoder that do not divide into the parts.
func (s Split) Check(d *spec.Decoder) error {
	var faults []error
	for _, a := range []struct {
		name string
		Axis
	}{{"tensor", s.Tensor}, {"context", s.Context}} {
		if a.Parts < 0 || a.Index < 0 || a.Index >= max(1, a.Parts) {
			faults = append(faults, fmt.Errorf("model: part %d of %d on the %s axis: parts count from 0", a.Index, a.Parts, a.name))
		}
	}
	if s.Context.split() && d.Mixture != nil && d.Mixture.Balance > 0 {
		faults = append(faults, errors.New("model: the auxiliary loss of a router is of whole rows: choose 1 context-parallel part, or output_router_logits = false in config.json"))
	}
	if n := s.Tensor.Parts; n > 1 {
		if d.QKNorm && d.QKNormWide {
			faults = append(faults, fmt.Errorf("model: the heads of a %s model share the norms of q and k: they cannot be split over tensor-parallel parts", d.Family))
		}
		if d.Mixture != nil {
			faults = append(faults, fmt.Errorf("model: the experts of a %s model cannot be split over tensor-parallel parts: choose 1, and data-parallel or context-parallel ranks", d.Family))
		}
		for _, size := range []struct {
			name string
			n    int
		}{{"query heads", d.Heads}, {"key/value heads", d.KVHeads}, {"MLP features", d.Intermediate}} {
			if size.n%n != 0 {
				faults = append(faults, fmt.Errorf("model: %d %s do not divide into %d tensor-parallel parts: choose a divisor", size.n, size.name, n))
			}
		}
	} else if s.Sequence {
		faults = append(faults, errors.New("model: the sequence is split over tensor-parallel parts, and there are none: choose at least 2, or no sequence parallelism"))
	}
	return errors.Join(faults...)
}

// part is the decoder as this part computes it: its heads and features. The vocabulary is apart; see vocabulary.
func (c Config) part() *spec.Decoder {
	d, t := *c.Decoder, c.Split.Tensor
	d.Heads, d.KVHeads, d.Intermediate = t.of(d.Heads), t.of(d.KVHeads), t.of(d.Intermediate)
	return &d
}

// unsplitStream is the configuration of programs that take all tokens of a row, however few: decoding.
func (c Config) unsplitStream() Config {
	c.Split.Sequence, c.Split.Context = false, Axis{}
	return c
}

// seq is how many tokens of each row are here.
func (c Config) seq(s Shape) int { return c.Split.Context.of(s.Seq) }

// tokens is how many tokens are here.
func (c Config) tokens(s Shape) int { return s.Rows * c.seq(s) }

// streamRows is how many tokens of the residual stream are here.
func (c Config) streamRows(s Shape) int {
	if c.Split.Sequence {
		return c.Split.Tensor.of(c.tokens(s))
	}
	return c.tokens(s)
}

// whole joins the parts of the stream x into [T,D], for a product whose output is split.
func (e *emit) whole(what string, x hlo.Value) hlo.Value {
	if !e.cfg.Split.Sequence {
		return x
	}
	return e.AllGather(e.cfg.Split.Tensor.comm(), what, x)
}

// reduced sums y [T,D] over the parts, each of which has a share of the sum at every place, and leaves what of the
// stream is here. It is what whole is backwards, and the other way round.
func (e *emit) reduced(what string, y hlo.Value) hlo.Value {
	t := e.cfg.Split.Tensor
	switch {
	case !t.split():
		return y
	case e.cfg.Split.Sequence:
		return e.ReduceScatter(t.comm(), what, e.c(y))
	}
	return e.AllReduce(t.comm(), what, e.c(y))
}

// summed adds up the gradients of parameters of which every part has only a share: all of them in one collective.
func (e *emit) summed(params []Param) {
	var at []int
	var flat []hlo.Value
	for i, p := range params {
		if g, ok := e.grads[i]; ok && p.shared {
			at, flat = append(at, i), append(flat, e.Reshape(g, p.Shape.Size()))
		}
	}
	if at == nil {
		return
	}
	sum, lo := e.AllReduce(e.cfg.Split.Tensor.comm(), "gradients", e.Concat(0, flat...)), 0
	for _, i := range at {
		n := params[i].Shape.Size()
		e.grads[i] = e.Reshape(e.Slice(sum, 0, lo, lo+n), params[i].Shape.Dims...)
		lo += n
	}
}
