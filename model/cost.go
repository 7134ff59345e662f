package model

import "github.com/gomlx/compute/dtypes"

// Memory is what training takes on a device, in bytes, before any device is there.
type Memory struct {
	Base        int64 // frozen parameters
	Trained     int64 // trained parameters, their gradients and two moments, all float32
	Activations int64 // what the forward pass keeps for the backward pass, all layers
	Backward    int64 // scratch of the backward pass of the block that needs most
	Loss        int64 // scratch of the loss: a chunk of logits
}

// Total is the sum; one program runs at a time.
func (m Memory) Total() int64 { return m.Base + m.Trained + m.Activations + max(m.Backward, m.Loss) }

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
		m.Backward = max(m.Backward, b.scratch(cfg, s))
	}
	r := newRoot(cfg)
	add(r.group)
	m.Activations += int64(cfg.stream(s).Bytes())
	m.Loss = cfg.lossScratch(s, r)
	return m, nil
}

// scratch estimates what the block's backward program holds at its fullest beside arguments and results.
func (b block) scratch(c Config, s Shape) int64 {
	d, tokens := c.part(), int64(c.tokens(s))
	wide, heads, kv, hidden := int64(d.Intermediate), int64(d.Heads*d.HeadDim), int64(d.KVHeads*d.HeadDim), int64(d.Hidden)
	scores := int64(2*4*d.Heads*min(queryBlock, s.Seq)) * int64(s.Rows*s.Seq) // a block of them, twice
	if c.Flash {
		scores = 4 * tokens * heads // cuDNN's sums of q's gradient
	}
	var mlp int64
	switch size := int64(c.Compute.Size()); {
	case b.mixture != nil:
		mlp = b.mixture.scratch(c, tokens)
	case c.Target == CPU: // d(product), d(gate), d(up) and the product, in float32
		mlp = 4 * 4 * tokens * wide
	case c.Kernels: // d(product), and the gradients of gate and up side by side
		mlp = size * tokens * 3 * wide
	default: // these also apart, and the product
		mlp = size * tokens * 5 * wide
	}
	if c.Target == CPU {
		return max(mlp, scores) + b.widened(c)
	}
	// Besides, in the compute dtype: a few tensors of the stream, the gradients of attention's operands, and what is
	// computed again.
	size, stream := int64(c.Compute.Size()), 3*hidden
	if c.Remat != RematNone && b.mixture == nil {
		mlp += size * tokens * (2*wide + hidden)
	}
	if c.Remat == RematFull {
		stream += 2*(heads+kv) + hidden
	}
	return size*tokens*stream + max(mlp, size*tokens*2*(heads+kv)+scores)
}

// widened is what a CPU's backward program holds of gate's and up's 8-bit weights in float32, for each of the passes whose
// products it has.
func (b block) widened(c Config) int64 {
	if !b.float8 {
		return 0
	}
	one := int64(4 * 2 * c.part().Intermediate * c.Decoder.Hidden)
	if c.Remat == RematNone {
		return one
	}
	return 2 * one
}

// scratch is a row of every slot for what experts are given, for its gradient and for that of what they give, and the
// router's probabilities, their gradient and the picks.
func (m *mixture) scratch(c Config, tokens int64) int64 {
	rows := m.blockRows(int(tokens))
	slots := int64(m.blocks(int(tokens), rows) * rows)
	return 3*int64(c.Compute.Size())*slots*int64(m.hidden) + int64(3*4+m.top)*tokens*int64(m.experts)
}

// lossScratch is what the loss program holds: on a GPU the hidden states with their gradients, a chunk's logits and their
// gradients in the compute dtype, which a kernel writes over each other, or, if narrow, in 8-bit floats, and of a head that
// is trained a copy in the compute dtype; on a CPU logits and gradients are float32.
func (c Config) lossScratch(s Shape, r root) int64 {
	v := r.vocab
	rows := lossChunk(max(16, s.Loss), v.count, c.Target, c.Head8)
	chunk := int64(rows) * int64(v.count)
	if c.Target == CPU {
		return 2 * 4 * chunk
	}
	size := int64(c.Compute.Size())
	logits := size * chunk
	if _, ok := c.entropyKernel(rows, v); !ok {
		logits *= 2
	} else if c.Head8 {
		logits += chunk
	}
	scratch := logits + int64(s.Loss*c.Decoder.Hidden)*(4+2*size)
	if r.trains(r.head) && c.Compute != dtypes.Float32 {
		scratch += size * int64(v.count*c.Decoder.Hidden)
	}
	return scratch
}
