package spec

import (
	"fmt"
	"math"
)

// NormPlacement says which norms stand around a block's attention and MLP.
type NormPlacement int

// The placements.
const (
	NormBefore NormPlacement = iota // on what each takes (Llama)
	NormAround                      // on what each takes and on what it gives (Gemma 2 and 3)
	NormAfter                       // on what each gives (OLMo 2)
)

// Before tells whether attention and MLP take normed input.
func (n NormPlacement) Before() bool { return n != NormAfter }

// After tells whether what attention and MLP give is normed before it is added to the residual stream.
func (n NormPlacement) After() bool { return n != NormBefore }

// names of a block's norms, in the order of the computation: before and after attention, before and after the MLP. Hugging
// Face uses one name for two places.
func (n NormPlacement) names() []string {
	switch n {
	case NormAround:
		return []string{"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"}
	case NormAfter:
		return []string{"", "post_attention_layernorm", "", "post_feedforward_layernorm"}
	}
	return []string{"input_layernorm", "", "post_attention_layernorm", ""}
}

// BlockNorms are the names of a block's norms in the order of the computation: before and after attention, before and
// after the MLP; "" where there is none.
func (d *Decoder) BlockNorms(layer int) [4]string {
	var out [4]string
	for i, name := range d.Norms.names() {
		if name != "" {
			out[i] = BlockPrefix(layer) + name + ".weight"
		}
	}
	return out
}

// QKNormDims are the sizes of the norms of q and of k.
func (d *Decoder) QKNormDims() (q, k int) {
	if d.QKNormWide {
		return d.Heads * d.HeadDim, d.KVHeads * d.HeadDim
	}
	return d.HeadDim, d.HeadDim
}

// ScoreScale is what the products of queries and keys are multiplied by.
func (d *Decoder) ScoreScale() float64 {
	if d.AttentionScale != 0 {
		return d.AttentionScale
	}
	return 1 / math.Sqrt(float64(d.HeadDim))
}

// variantsFromConfig reads what only some families have.
func variantsFromConfig(f fields, fam family, d *Decoder) {
	d.Norms, d.NormPlusOne, d.QKNormWide = fam.norms, fam.normPlusOne, fam.qkNormWide
	if fam.gelu {
		d.Activation = GELUTanh
		if act := f.string("hidden_activation", "gelu_pytorch_tanh"); act != "gelu_pytorch_tanh" {
			f.fail("hidden_activation", "is %q; only \"gelu_pytorch_tanh\" is supported", act)
		}
	}
	if fam.queryScalar != 0 {
		d.AttentionScale = 1 / math.Sqrt(f.float("query_pre_attn_scalar", fam.queryScalar))
		d.AttentionCap = optional(f, "attn_logit_softcapping", fam.attentionCap)
		d.LogitCap = optional(f, "final_logit_softcapping", fam.logitCap)
		d.EmbedScale = math.Sqrt(float64(d.Hidden))
	}
	if fam.multipliers {
		d.AttentionScale = f.float("attention_multiplier", 1)
		d.EmbedScale, d.ResidualScale = f.float("embedding_multiplier", 1), f.float("residual_multiplier", 1)
		d.LogitScale = 1 / f.float("logits_scaling", 1)
	}
	if f.bool("use_bidirectional_attention", false) {
		f.fail("use_bidirectional_attention", "attention to later tokens is not supported")
	}
}

// optional is a number that null turns off; 0 = off.
func optional(f fields, key string, def float64) float64 {
	if f.present(key) && !f.has(key) {
		return 0
	}
	return f.float(key, def)
}

// localRope reads the rotary embedding of sliding layers, where the family has one.
func localRope(f fields, fam family, d *Decoder) *Rope {
	if fam.localTheta == 0 {
		return nil
	}
	theta := f.float("rope_local_base_freq", fam.localTheta)
	if all, ok := f.object("rope_parameters"); ok {
		if p, ok := all.object(slidingAttention); ok {
			theta = p.float("rope_theta", theta)
			if kind := p.string("rope_type", "default"); kind != "default" {
				p.fail("rope_type", "is %q; sliding layers may have: default", kind)
			}
		}
	}
	return &Rope{Theta: theta, Dim: d.HeadDim, Kind: "default"}
}

// impossibleVariants reports numbers with which nothing can be computed.
func (d *Decoder) impossibleVariants() []error {
	var faults []error
	for _, x := range []struct {
		name  string
		value float64
	}{
		{"attention scale (query_pre_attn_scalar, attention_multiplier)", d.AttentionScale}, {"attn_logit_softcapping", d.AttentionCap},
		{"final_logit_softcapping", d.LogitCap}, {"embedding_multiplier", d.EmbedScale}, {"residual_multiplier", d.ResidualScale},
		{"1/logits_scaling", d.LogitScale},
	} {
		if !(x.value >= 0 && x.value < 1e9) {
			faults = append(faults, fmt.Errorf("%s: is %g, must be positive", x.name, x.value))
		}
	}
	if d.LocalRope != nil {
		faults = append(faults, d.LocalRope.impossible(d.HeadDim)...)
	}
	return faults
}
