package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// Shape is the size of a micro-batch: programs are compiled for one.
type Shape struct {
	Rows int // B
	Seq  int // S, of whole rows where those are split
	Loss int // rows of the loss: positions here that have a label, rounded up

	Packed bool // a row may hold several documents
	Reach  int  // of packed rows: no document is longer, so no query sees farther back

	Documents int // of packed rows whose attention is cuDNN's: places for documents, over all rows; 0 = blockwise
}

// block is what a block's programs depend on: no loss is in them.
func (s Shape) block() Shape {
	return Shape{Rows: s.Rows, Seq: s.Seq, Packed: s.Packed, Reach: s.Reach, Documents: s.Documents}
}

// stream is what the programs of token rows depend on: documents and loss mean nothing to them.
func (s Shape) stream() Shape { return Shape{Rows: s.Rows, Seq: s.Seq} }

// head is what the programs of the loss depend on.
func (s Shape) head() Shape { return Shape{Rows: s.Rows, Seq: s.Seq, Loss: s.Loss} }

// newEmit opens a program, of a block not that of its backward pass: its parameters come first in the argument list.
func newEmit(g *hlo.Graph, cfg Config, group Group, s Shape) *emit {
	return newEmitOf(g, cfg, group, s, Forward)
}

// newEmitOf is newEmit for a direction. Parameters that it does not read are invalid.
func newEmitOf(g *hlo.Graph, cfg Config, group Group, s Shape, d Direction) *emit {
	e := &emit{Graph: g, cfg: cfg, part: cfg.part(), rows: s.Rows, seq: cfg.seq(s), chunks: cfg.Split.Context.chunks(s.Seq), grads: map[int]hlo.Value{}, rounding: newRounding()}
	for _, p := range group.Params {
		var w hlo.Value
		if p.ReadBy(d) {
			w = g.Input(p.Shape)
		}
		e.w = append(e.w, w)
	}
	return e
}

// context declares the arguments that forward and backward share besides parameters: rotary tables, in packed rows
// where documents start and, for cuDNN, the list of them, and dropout keys.
func (e *emit) context(s Shape, dropout bool) {
	half := e.cfg.Decoder.Rope.Dim / 2
	e.cos = e.Input(device.MakeShape(dtypes.Float32, e.rows, e.seq, half))
	e.sin = e.Input(device.MakeShape(dtypes.Float32, e.rows, e.seq, half))
	keyDims := []int{e.rows}
	if s.Packed {
		e.reach = s.Reach
		keyDims = []int{e.rows, e.seq}
		e.starts = e.Input(device.MakeShape(dtypes.Int32, keyDims...))
	}
	if s.Documents > 0 {
		rows, length := s.anew()
		each := s.Documents / rows
		e.documents = documents{
			rows: rows, seq: length,
			Documents: hlo.Documents{Lengths: e.Input(device.MakeShape(dtypes.Int32, rows, each)), Starts: e.Input(device.MakeShape(dtypes.Int32, rows, each+1))},
		}
	}
	if dropout {
		keys := e.Input(device.MakeShape(dtypes.Uint32, keyDims...))
		layer := e.Input(device.MakeShape(dtypes.Uint32))
		e.dropKey = e.mix(e.Add(keys, e.Mul(layer, e.Const(dtypes.Uint32, 0x9e3779b1))))
	}
}

// stream is the shape of what is here of the residual stream [T,D].
func (c Config) stream(s Shape) device.Shape {
	return device.MakeShape(c.Compute, c.streamRows(s), c.Decoder.Hidden)
}

// buildForward is the program: parameters, context, x -> y, saved..., and, with the auxiliary loss, the router's loads.
func (b block) buildForward(cfg Config, s Shape, dropout bool) (device.Source, error) {
	cfg.Float8 = b.float8
	return hlo.Build("forward", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, b.group, s)
		e.context(s, dropout)
		b.countedTokens(e)
		b.stack(e)
		y, a := b.forward(e, g.Input(cfg.stream(s)))
		out := []hlo.Value{y}
		for _, v := range b.saved(e, &a) {
			out = append(out, *v)
		}
		if a.loads.Valid() {
			out = append(out, a.loads)
		}
		return out
	})
}

// buildBackward is the program: parameters, context, x, saved..., with the auxiliary loss its push, dy -> dx,
// gradients... in float32. saved are the shapes that forward returns. dy is read until the end of the program: if dx were to
// have its memory, XLA would copy it first.
func (b block) buildBackward(cfg Config, s Shape, dropout bool, saved []device.Shape) (device.Source, error) {
	cfg.Float8 = b.float8
	return hlo.Build("backward", func(g *hlo.Graph) []hlo.Value {
		e := newEmitOf(g, cfg, b.group, s, Backward)
		e.context(s, dropout)
		b.countedTokens(e)
		x := g.Input(cfg.stream(s))
		b.stack(e)
		var a acts
		b.restore(e, x, &a, saved)
		if b.balanced(cfg) {
			e.push = g.Input(device.MakeShape(dtypes.Float32, b.mixture.experts))
		}
		dx := b.backward(e, x, a, g.Input(cfg.stream(s)))
		return append([]hlo.Value{dx}, e.gradients(b.group)...)
	})
}

// restore fills a from the saved arguments and computes the rest again.
func (b block) restore(e *emit, x hlo.Value, a *acts, saved []device.Shape) {
	for i, v := range b.saved(e, a) {
		*v = e.Input(saved[i])
	}
	switch e.cfg.Remat {
	case RematNone:
	case RematSelective:
		b.forwardMLP(e, a)
	case RematFull:
		b.forwardAttention(e, x, a)
		b.forwardMLP(e, a)
		// The down projection is not run again but where its result is normed; else only the small product with its A is. A
		// kernel makes that with the rest, and XLA drops the projection.
		if _, ok := b.gatedKernel(e); ok || b.normAfter2 >= 0 {
			b.forwardDown(e, a)
		} else if segs := b.down.adapted(); segs != nil {
			a.tDn = e.c(b.down.low(e, e.gated(a.gate, a.up), segs))
		}
	}
}

// gradients lists the recorded gradients in the order of Group.Trainable.
func (e *emit) gradients(group Group) []hlo.Value {
	e.unstack(group)
	e.summed(group.Params)
	var out []hlo.Value
	for _, i := range group.trainable() {
		g, ok := e.grads[i]
		if !ok {
			panic(fmt.Sprintf("no gradient for %s", group.Params[i].Name))
		}
		out = append(out, g)
	}
	return out
}
