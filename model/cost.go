package model

import "gorun/model/spec"

// Memory is what training takes on a device, in bytes, before any device is there.
type Memory struct {
	Base        int64 // frozen parameters
	Trained     int64 // trained parameters, their gradients and two moments, all float32
	Activations int64 // what the forward pass keeps for the backward pass, all layers
	Working     int64 // the largest program's scratch: a block's backward pass or a chunk of logits
}

// Total is the sum.
func (m Memory) Total() int64 { return m.Base + m.Trained + m.Activations + m.Working }

// EstimateMemory counts parameters and saved activations exactly, from the programs themselves, and estimates scratch.
func EstimateMemory(cfg Config, s Shape) (Memory, error) {
	var m Memory
	add := func(g Group) {
		for _, p := range g.Params {
			n := int64(p.Shape.Bytes())
			if p.Trainable {
				m.Trained += 4 * n
			} else {
				m.Base += n
			}
		}
	}
	d := cfg.Decoder
	here, tokens := cfg.part(), int64(cfg.tokens(s))
	var mlp int64               // scratch of the backward pass of the largest MLP
	saved := map[string]int64{} // per kind of block
	for n := range d.Layers {
		b, err := newBlock(cfg, n)
		if err != nil {
			return m, err
		}
		add(b.group)
		kind := b.kind()
		if _, ok := saved[kind]; !ok {
			src, err := b.buildForward(cfg, s, false)
			if err != nil {
				return m, err
			}
			for _, o := range src.Outputs {
				saved[kind] += int64(o.Bytes())
			}
		}
		m.Activations += saved[kind]
		mlp = max(mlp, b.scratch(cfg, here, tokens))
	}
	r := newRoot(cfg)
	add(r.group)
	m.Activations += int64(cfg.stream(s).Bytes())
	scores := int64(s.Rows * here.Heads * min(queryBlock, s.Seq) * s.Seq) // a block of them, in attention's backward pass, twice
	block := max(mlp, 2*4*scores)
	loss := int64(3 * 4 * lossChunk(max(16, s.Loss), r.vocab.count, cfg.Target) * r.vocab.count)
	m.Working = max(block, loss)
	return m, nil
}

// scratch estimates what the backward pass of the block's MLP holds at once: d(product), d(gate), d(up) and the product in
// float32. Of experts it is a row of every slot for what they are given, for its gradient and for that of what they give,
// and the router's probabilities, their gradient and the picks.
func (b block) scratch(cfg Config, here *spec.Decoder, tokens int64) int64 {
	m := b.mixture
	if m == nil {
		return 4 * 4 * tokens * int64(here.Intermediate)
	}
	rows := m.blockRows(int(tokens))
	slots := int64(m.blocks(int(tokens), rows) * rows)
	return 3*int64(cfg.Compute.Size())*slots*int64(m.hidden) + int64(3*4+m.top)*tokens*int64(m.experts)
}
