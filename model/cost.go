package model

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
	}
	r := newRoot(cfg)
	add(r.group)
	m.Activations += int64(cfg.stream(s).Bytes())
	m.Working = max(cfg.blockScratch(s), cfg.lossScratch(s, r.vocab.count))
	return m, nil
}

// blockScratch is what a block's backward program holds at its fullest beside arguments and results.
func (c Config) blockScratch(s Shape) int64 {
	d, tokens := c.part(), int64(c.tokens(s))
	wide, heads, kv, hidden := int64(d.Intermediate), int64(d.Heads*d.HeadDim), int64(d.KVHeads*d.HeadDim), int64(d.Hidden)
	scores := int64(2*4*d.Heads*min(queryBlock, s.Seq)) * int64(s.Rows*s.Seq)
	if c.Flash {
		scores = 4 * tokens * heads // cuDNN's sums of q's gradient
	}
	if c.Target == CPU { // dm, the gradients of gate and up, and gate * up, in float32; a block of scores twice
		return max(4*4*tokens*wide, scores)
	}
	// In the compute dtype. Of the MLP: dm, and the gradients of gate and up side by side, which XLA also has apart, with
	// their product, where no kernel makes them; of attention: the gradients of its four operands. A few of the stream,
	// and what is computed again.
	mlp, attention, stream := 5*wide, 2*(heads+kv), 3*hidden
	if c.Kernels {
		mlp = 3 * wide
	}
	if c.Remat != RematNone {
		mlp += 2*wide + hidden
	}
	if c.Remat == RematFull {
		stream += 2*(heads+kv) + hidden
	}
	size := int64(c.Compute.Size())
	return size*tokens*stream + max(size*tokens*mlp, size*tokens*attention+scores)
}

// lossScratch is what the loss program holds: a chunk's logits and their gradients, of a GPU's kernel in the compute dtype,
// and the hidden states with their gradients.
func (c Config) lossScratch(s Shape, vocab int) int64 {
	chunk := int64(lossChunk(max(16, s.Loss), vocab, c.Target)) * int64(vocab)
	if c.Target == CPU || !c.Kernels {
		return 3 * 4 * chunk
	}
	return 2*int64(c.Compute.Size())*chunk + int64(s.Loss*c.Decoder.Hidden)*int64(4+2*c.Compute.Size())
}
