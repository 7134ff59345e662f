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
	// Backward of the MLP holds dm, d(gate), d(up) and gate*up in float32 at once; of attention, a block of scores twice.
	here := cfg.part()
	tokens, scores := int64(cfg.tokens(s)), int64(s.Rows*here.Heads*min(queryBlock, s.Seq)*s.Seq)
	block := max(4*4*tokens*int64(here.Intermediate), 2*4*scores)
	loss := int64(3 * 4 * lossChunk(max(16, s.Loss), r.vocab.count, cfg.Target) * r.vocab.count)
	m.Working = max(block, loss)
	return m, nil
}
