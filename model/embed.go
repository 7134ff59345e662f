package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// local counts ids from the first row of the vocabulary that is here; those of rows that are not are out of range.
func (v vocabulary) local(g *hlo.Graph, ids hlo.Value) hlo.Value {
	if !v.split() {
		return ids
	}
	return g.Sub(ids, g.Const(dtypes.Int32, float64(v.first)))
}

// lookup gathers rows of embed by ids [T,1]: zeros for those that are not here.
func (v vocabulary) lookup(g *hlo.Graph, embed, ids hlo.Value) hlo.Value {
	if !v.split() {
		return g.Rows(embed, ids)
	}
	at := v.local(g, ids)
	zero, last := g.Const(dtypes.Int32, 0), g.Const(dtypes.Int32, float64(v.count-1))
	x := g.Rows(embed, g.Min(g.Max(at, zero), last))
	here := g.And(g.Compare(at, ">=", zero), g.Compare(at, "<=", last))
	return g.Select(g.Broadcast(g.Reshape(here, x.Dim(0)), x.Dims(), 0), x, g.Const(x.DType(), 0))
}

// buildEmbed is the program: embedding [V,D], ids [B,S], positions [B,S], cosine and sine tables [P,Rot/2] (and
// two more, where layers with a window have their own) -> x [T,D] in the compute dtype, and the rows of the tables
// [B,S,Rot/2].
func (r root) buildEmbed(cfg Config, s Shape, positions int) (device.Source, error) {
	return hlo.Build("embed", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, Group{Params: r.group.Params[r.embed : r.embed+1]}, s)
		tokens := device.MakeShape(dtypes.Int32, e.rows, e.seq)
		ids, at := g.Input(tokens), g.Input(tokens)
		table := device.MakeShape(dtypes.Float32, positions, cfg.Decoder.Rope.Dim/2)
		tables := []hlo.Value{g.Input(table), g.Input(table)}
		if cfg.Decoder.LocalRope != nil {
			tables = append(tables, g.Input(table), g.Input(table))
		}
		x := e.reduced("embedding", e.scaled(e.c(r.vocab.lookup(g, e.w[0], g.Reshape(ids, cfg.tokens(s), 1))), cfg.Decoder.EmbedScale))
		at = g.Reshape(at, e.rows, e.seq, 1)
		out := []hlo.Value{x}
		for _, t := range tables {
			out = append(out, g.Rows(t, at))
		}
		return out
	})
}

// buildEmbedBackward is the program: dx [T,D], ids [B,S] (and the head's gradient when it is the embedding, donated)
// -> gradient of the embedding [V,D] float32.
func (r root) buildEmbedBackward(cfg Config, s Shape) (device.Source, error) {
	return hlo.Build("embed_backward", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, Group{}, s)
		dx := e.whole("embedding, backward", g.Input(cfg.stream(s)))
		ids := g.Input(device.MakeShape(dtypes.Int32, e.rows, e.seq))
		shape := device.MakeShape(dtypes.Float32, r.vocab.count, cfg.Decoder.Hidden)
		var acc hlo.Value
		if r.head == r.embed {
			acc = g.Donated(shape, 0)
		} else {
			acc = g.Full(dtypes.Float32, 0, shape.Dims...)
		}
		// Rows out of range add nothing.
		return []hlo.Value{g.AddRows(acc, r.vocab.local(g, g.Reshape(ids, cfg.tokens(s), 1)), e.scaled(g.F32(dx), cfg.Decoder.EmbedScale))}
	})
}
