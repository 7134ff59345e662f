package spec

import "fmt"

// Tensor is one tensor of the checkpoint: its Hugging Face name and its row-major shape.
type Tensor struct {
	Name  string
	Shape []int
}

// Names of the tensors outside the blocks.
const (
	EmbedTensor = "model.embed_tokens.weight" // [Vocab, Hidden]
	NormTensor  = "model.norm.weight"         // [Hidden]
	HeadTensor  = "lm_head.weight"            // [Vocab, Hidden]; absent when TiedHead
)

// BlockPrefix is what the names of a block's tensors begin with: "model.layers.3.".
func BlockPrefix(layer int) string { return fmt.Sprintf("model.layers.%d.", layer) }

// Linears lists the linear layers of one block in the order of the computation.
func (d *Decoder) Linears(layer int) []Linear {
	q, kv := d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	list := make([]Linear, 0, 7)
	add := func(name string, in, out int, bias bool) {
		list = append(list, Linear{Name: BlockPrefix(layer) + name, Layer: layer, In: in, Out: out, Bias: bias})
	}
	if d.FusedQKV {
		add("self_attn.qkv_proj", d.Hidden, q+2*kv, d.QKVBias)
	} else {
		add("self_attn.q_proj", d.Hidden, q, d.QKVBias)
		add("self_attn.k_proj", d.Hidden, kv, d.QKVBias)
		add("self_attn.v_proj", d.Hidden, kv, d.QKVBias)
	}
	add("self_attn.o_proj", q, d.Hidden, d.OBias)
	switch {
	case d.Sparse(layer):
		for e := range d.Mixture.Experts {
			x := d.Expert(layer, e)
			list = append(list, x[:]...)
		}
		return list
	case d.FusedMLP:
		add("mlp.gate_up_proj", d.Hidden, 2*d.Intermediate, d.MLPBias)
	default:
		add("mlp.gate_proj", d.Hidden, d.Intermediate, d.MLPBias)
		add("mlp.up_proj", d.Hidden, d.Intermediate, d.MLPBias)
	}
	add("mlp.down_proj", d.Intermediate, d.Hidden, d.MLPBias)
	return list
}

// Head is lm_head as a linear. With TiedHead its weight is the embedding's.
func (d *Decoder) Head() Linear {
	return Linear{Name: "lm_head", Layer: -1, In: d.Hidden, Out: d.Vocab}
}

// BlockTensors lists the tensors of one block.
func (d *Decoder) BlockTensors(layer int) []Tensor {
	prefix := BlockPrefix(layer)
	var list []Tensor
	norms := d.BlockNorms(layer)
	norm := func(i int) {
		if norms[i] != "" {
			list = append(list, Tensor{norms[i], []int{d.Hidden}})
		}
	}
	norm(0)
	if d.QKNorm {
		q, k := d.QKNormDims()
		list = append(list,
			Tensor{prefix + "self_attn.q_norm.weight", []int{q}},
			Tensor{prefix + "self_attn.k_norm.weight", []int{k}})
	}
	for i := 1; i < len(norms); i++ {
		norm(i)
	}
	if d.Sparse(layer) {
		r := d.Router(layer)
		list = append(list, Tensor{r.Name + ".weight", []int{r.Out, r.In}})
	}
	for _, l := range d.Linears(layer) {
		list = append(list, Tensor{l.Name + ".weight", []int{l.Out, l.In}})
		if l.Bias {
			list = append(list, Tensor{l.Name + ".bias", []int{l.Out}})
		}
	}
	return list
}

// Tensors lists every tensor of the checkpoint: embedding, blocks, final norm, and the head unless tied.
func (d *Decoder) Tensors() []Tensor {
	list := []Tensor{{EmbedTensor, []int{d.Vocab, d.Hidden}}}
	for layer := range d.Layers {
		list = append(list, d.BlockTensors(layer)...)
	}
	list = append(list, Tensor{NormTensor, []int{d.Hidden}})
	if !d.TiedHead {
		list = append(list, Tensor{HeadTensor, []int{d.Vocab, d.Hidden}})
	}
	return list
}
