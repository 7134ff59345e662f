package spec

import "fmt"

// Limits that no real model comes near; they keep sums of sizes far from overflow.
const (
	maxLayers    = 1 << 12
	maxWidth     = 1 << 20
	maxVocab     = 1 << 24
	maxPositions = 1 << 30
	maxExperts   = 1 << 12
)

// impossible reports every size that no model can have, in the words of config.json.
func (d *Decoder) impossible() []error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, size := range []struct {
		name        string
		value, most int
	}{
		{"num_hidden_layers", d.Layers, maxLayers},
		{"hidden_size", d.Hidden, maxWidth},
		{"intermediate_size", d.Intermediate, maxWidth},
		{"num_attention_heads", d.Heads, maxWidth},
		{"num_key_value_heads", d.KVHeads, maxWidth},
		{"head_dim", d.HeadDim, maxWidth},
		{"vocab_size", d.Vocab, maxVocab},
		{"max_position_embeddings", d.MaxPositions, maxPositions},
	} {
		if size.value < 1 || size.value > size.most {
			fail("%s: is %d, must be 1 to %d", size.name, size.value, size.most)
		}
	}
	if d.KVHeads > 0 && d.Heads%d.KVHeads != 0 {
		fail("num_attention_heads: is %d, not a multiple of num_key_value_heads %d", d.Heads, d.KVHeads)
	}
	if d.Heads > 0 && d.HeadDim > maxWidth/d.Heads {
		fail("head_dim: %d times num_attention_heads %d is over %d", d.HeadDim, d.Heads, maxWidth)
	}
	if !(d.NormEps > 0 && d.NormEps < 1) {
		fail("rms_norm_eps: is %g, must lie between 0 and 1", d.NormEps)
	}
	faults = append(faults, d.impossibleVariants()...)
	faults = append(faults, d.Mixture.impossible()...)
	return append(faults, d.Rope.impossible(d.HeadDim)...)
}

// impossible reports faults of the rotary embedding that apply to every source of it.
func (r Rope) impossible(headDim int) []error {
	var faults []error
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !(r.Theta > 1 && r.Theta < 1e18) {
		fail("rope_theta: is %g, must be over 1", r.Theta)
	}
	if r.Dim < 2 || r.Dim%2 != 0 || r.Dim > headDim {
		fail("rotary dimension: is %d, must be even, at least 2 and at most head_dim %d (head_dim, partial_rotary_factor)", r.Dim, headDim)
	}
	if r.Kind == "dynamic" && r.Dim == 2 {
		fail("rope_type: dynamic needs a rotary dimension over 2")
	}
	if r.Kind != "default" && r.Kind != "factors" && !(r.Factor > 0 && r.Factor < 1e9) {
		fail("rope scaling factor: is %g, must be positive", r.Factor)
	}
	switch r.Kind {
	case "llama3", "yarn", "longrope", "dynamic":
		if r.OriginalMaxPositions < 2 || r.OriginalMaxPositions > maxPositions {
			fail("original_max_position_embeddings: is %d, must be 2 to %d", r.OriginalMaxPositions, maxPositions)
		}
	}
	if r.Kind == "llama3" && !(r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor) {
		fail("rope scaling: high_freq_factor %g must be over low_freq_factor %g, and that over 0", r.HighFreqFactor, r.LowFreqFactor)
	}
	if r.Kind == "yarn" && !(r.BetaSlow > 0 && r.BetaFast >= r.BetaSlow) {
		fail("rope scaling: beta_fast %g must be at least beta_slow %g, and that over 0", r.BetaFast, r.BetaSlow)
	}
	if !(r.AttentionFactor >= 0 && r.AttentionFactor < 1e6) {
		fail("attention_factor: is %g, must be positive", r.AttentionFactor)
	}
	return faults
}

// checkFactors reports a per-frequency factor list of the wrong length or with a value that cannot divide.
func checkFactors(name string, factors []float64, dim int) error {
	if len(factors) != dim/2 {
		return fmt.Errorf("%s: has %d values, the rotary dimension %d needs %d", name, len(factors), dim, dim/2)
	}
	for i, x := range factors {
		if !(x > 0 && x < 1e9) {
			return fmt.Errorf("%s: value %d is %g, must be positive", name, i, x)
		}
	}
	return nil
}
