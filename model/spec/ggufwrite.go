package spec

import (
	"fmt"
	"math"
	"slices"
)

// MetaField is one entry of GGUF metadata.
type MetaField struct {
	Key   string
	Value any
}

// ToGGUF is the decoder as GGUF metadata, general.architecture first, under the keys and in the types that llama.cpp's
// converters write, and the tensors with rotary factors that go with it, by name. A decoder that FromGGUF could not read
// back, or that llama.cpp would compute otherwise, is an error.
func (d *Decoder) ToGGUF() (fields []MetaField, factors map[string][]float32, err error) {
	arch, err := d.ggufArchitecture()
	if err != nil {
		return nil, nil, err
	}
	add := func(key string, value any) { fields = append(fields, MetaField{key, value}) }
	size := func(key string, n int) { add(arch+"."+key, uint32(n)) }
	add("general.architecture", arch)
	size("block_count", d.Layers)
	size("context_length", d.MaxPositions)
	size("embedding_length", d.Hidden)
	size("feed_forward_length", d.Intermediate)
	size("attention.head_count", d.Heads)
	size("attention.head_count_kv", d.KVHeads)
	add(arch+".attention.layer_norm_rms_epsilon", float32(d.NormEps))
	if d.HeadDim*d.Heads != d.Hidden {
		size("attention.key_length", d.HeadDim)
		size("attention.value_length", d.HeadDim)
	}
	switch {
	case d.Window != nil:
		size("attention.sliding_window", d.Window[0])
	case arch == "phi3":
		size("attention.sliding_window", 0) // llama.cpp wants the key: without it every Phi-3 slides
	}
	size("vocab_size", d.Vocab)
	size("rope.dimension_count", d.Rope.Dim)
	add(arch+".rope.freq_base", float32(d.Rope.Theta))
	rope, factors, err := d.Rope.toGGUF(arch, d.MaxPositions)
	return append(fields, rope...), factors, err
}

// ggufArchitecture is general.architecture, if llama.cpp computes that architecture as this decoder is.
func (d *Decoder) ggufArchitecture() (string, error) {
	arch := d.Family
	if arch == "mistral" {
		arch = "llama"
	}
	if _, ok := ggufArchitectures[arch]; !ok {
		return "", fmt.Errorf("gguf: no GGUF files of a %s model are read or written: use the Hugging Face format", d.Family)
	}
	if d.Window != nil && (arch != "llama" && arch != "phi3" || slices.Min(d.Window) != slices.Max(d.Window)) {
		return "", fmt.Errorf("gguf: llama.cpp has no sliding windows on some layers of a %s model", d.Family)
	}
	if d.Family == "smollm3" {
		for i := range d.Layers {
			if (i+1)%smolLM3Interval == 0 != (d.NoRope != nil && d.NoRope[i]) {
				return "", fmt.Errorf("gguf: llama.cpp takes every %dth layer of a smollm3 model for one without rotary; layer %d differs", smolLM3Interval, i)
			}
		}
	}
	return arch, nil
}

// toGGUF is the rotary embedding beyond dimension and base.
func (r Rope) toGGUF(arch string, maxPositions int) (fields []MetaField, factors map[string][]float32, err error) {
	add := func(key string, value any) { fields = append(fields, MetaField{arch + ".rope.scaling." + key, value}) }
	switch r.Kind {
	case "default":
		if arch == "phi3" {
			add("original_context_length", uint32(maxPositions))
		}
	case "linear":
		add("type", "linear")
		add("factor", float32(r.Factor))
	case "yarn":
		if r.NoTruncate || r.AttentionFactor != 0 && math.Abs(r.AttentionFactor-yarnScale(r.Factor, 1)) > 1e-6 {
			return nil, nil, fmt.Errorf("gguf: llama.cpp has no yarn with truncate = false or an attention_factor of its own")
		}
		add("type", "yarn")
		add("factor", float32(r.Factor))
		add("original_context_length", uint32(r.OriginalMaxPositions))
		add("yarn_beta_fast", float32(r.BetaFast))
		add("yarn_beta_slow", float32(r.BetaSlow))
	case "longrope":
		add("original_context_length", uint32(r.OriginalMaxPositions))
		add("attn_factor", float32(r.attention()))
		return fields, map[string][]float32{GGUFFactorsLong: toFloat32(r.LongFactor), GGUFFactorsShort: toFloat32(r.ShortFactor)}, nil
	case "factors":
		return nil, map[string][]float32{GGUFRopeFreqs: toFloat32(r.ShortFactor)}, nil
	case "llama3":
		return nil, map[string][]float32{GGUFRopeFreqs: r.divisors()}, nil
	default:
		return nil, nil, fmt.Errorf("gguf: llama.cpp has no rotary scaling of kind %q", r.Kind)
	}
	return fields, nil, nil
}

// divisors are what the plain inverse frequencies are divided by.
func (r Rope) divisors() []float32 {
	plain := r.inverse(r.Theta)
	scaled, _ := r.InvFreq(0)
	out := make([]float32, len(plain))
	for i := range out {
		out[i] = plain[i] / scaled[i]
	}
	return out
}

func toFloat32(list []float64) []float32 {
	out := make([]float32, len(list))
	for i, x := range list {
		out[i] = float32(x)
	}
	return out
}
