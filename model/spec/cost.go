package spec

// ParamCount counts parameters.
type ParamCount struct {
	Total     int64 // every tensor of the checkpoint; a tied head counts once
	Active    int64 // of these, what one token goes through: all, but of a mixture its own experts
	Linear    int64 // weights of the linears that one token goes through, the head included even when tied; no biases, no embedding
	Embedding int64 // the embedding table
}

// Params counts the parameters of the base.
func (d *Decoder) Params() ParamCount {
	p := ParamCount{Embedding: int64(d.Vocab) * int64(d.Hidden)}
	p.Total = p.Embedding + int64(d.Hidden)
	var idle int64 // of the experts that a token does not go through
	for layer := range d.Layers {
		for _, t := range d.BlockTensors(layer) {
			p.Total += elements(t.Shape)
		}
		for _, l := range d.Linears(layer) {
			p.Linear += int64(l.In) * int64(l.Out)
		}
		if m := d.Mixture; d.Sparse(layer) {
			p.Linear += int64(d.Hidden) * int64(m.Experts)
			idle += 3 * int64(d.Hidden) * int64(m.Width) * int64(m.Experts-m.PerToken)
		}
	}
	p.Linear -= idle
	p.Linear += p.Embedding // the head has the shape of the embedding
	if !d.TiedHead {
		p.Total += p.Embedding
	}
	p.Active = p.Total - idle
	return p
}

func elements(shape []int) int64 {
	n := int64(1)
	for _, s := range shape {
		n *= int64(s)
	}
	return n
}

// LoRAParams counts the parameters of adapters of inner size dim on the given linears: A [dim, In] and
// B [Out, dim] each.
func LoRAParams(linears []Linear, dim int) int64 {
	var n int64
	for _, l := range linears {
		n += int64(dim) * (int64(l.In) + int64(l.Out))
	}
	return n
}

// FLOPsPerToken estimates the floating-point operations of one training token in a sequence of seq, by
// the formula that NeMo AutoModel publishes its figures with: forward, backward by the input, and the
// weight gradients of the adapter alone. adapterParams of 0 means full fine-tuning.
func (d *Decoder) FLOPsPerToken(seq int, adapterParams int64) float64 {
	p := d.Params()
	full := 6*float64(p.Linear) + 6*float64(d.Layers)*float64(d.Hidden)*float64(seq)
	if adapterParams == 0 {
		return full
	}
	return (2 + float64(adapterParams)/float64(p.Total)) / 3 * full
}
