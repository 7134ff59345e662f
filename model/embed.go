package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// buildEmbed is the program: embedding [V,D], ids [B,S], positions [B,S], cosine and sine tables [P,Rot/2] -> x [T,D] in
// the compute dtype, and the rows of the tables [B,S,Rot/2].
func (r root) buildEmbed(cfg Config, s Shape, positions int) (device.Source, error) {
	return hlo.Build("embed", func(g *hlo.Graph) []hlo.Value {
		embed := g.Input(r.group.Params[r.embed].Shape)
		ids := g.Input(device.MakeShape(dtypes.Int32, s.Rows, s.Seq))
		at := g.Input(device.MakeShape(dtypes.Int32, s.Rows, s.Seq))
		table := device.MakeShape(dtypes.Float32, positions, cfg.Decoder.Rope.Dim/2)
		cos, sin := g.Input(table), g.Input(table)
		x := g.To(g.Rows(embed, g.Reshape(ids, s.tokens(), 1)), cfg.Compute)
		at = g.Reshape(at, s.Rows, s.Seq, 1)
		return []hlo.Value{x, g.Rows(cos, at), g.Rows(sin, at)}
	})
}

// buildEmbedBackward is the program: dx [T,D], ids [B,S] (and the head's gradient when it is the embedding, donated)
// -> gradient of the embedding [V,D] float32.
func (r root) buildEmbedBackward(cfg Config, s Shape) (device.Source, error) {
	return hlo.Build("embed_backward", func(g *hlo.Graph) []hlo.Value {
		dx := g.Input(cfg.stream(s))
		ids := g.Input(device.MakeShape(dtypes.Int32, s.Rows, s.Seq))
		shape := device.MakeShape(dtypes.Float32, cfg.Decoder.Vocab, cfg.Decoder.Hidden)
		var acc hlo.Value
		if r.head == r.embed {
			acc = g.Donated(shape, 0)
		} else {
			acc = g.Full(dtypes.Float32, 0, shape.Dims...)
		}
		return []hlo.Value{g.AddRows(acc, g.Reshape(ids, s.tokens(), 1), g.F32(dx))}
	})
}
