package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/gomlx/compute/dtypes"
)

// ConfigJSON writes the decoder as a config.json that transformers and Parse read: for bases that have none, GGUF files.
// dtype is what the weights beside it are stored as. A decoder that config.json cannot say (rotary factors that no rule
// gives, for one) is an error: the result is parsed again and must describe the same decoder.
func (d *Decoder) ConfigJSON(dtype dtypes.DType) ([]byte, error) {
	fam, ok := findFamily(d.Family)
	if !ok {
		return nil, fmt.Errorf("config.json: unknown family %q", d.Family)
	}
	if fam.noGGUF {
		return nil, fmt.Errorf("config.json of a %s model is only copied from the model's folder, never made", fam.name)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d.configFields(fam, dtype)); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	back, err := Parse(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the decoder cannot be written as config.json: %w", err)
	}
	want := *d
	want.DType = dtype
	if !reflect.DeepEqual(*back, want) {
		return nil, fmt.Errorf("a %s decoder like this one (rope %q, biases %t %t %t) cannot be written as config.json: it would read %+v, not %+v",
			d.Family, d.Rope.Kind, d.QKVBias, d.OBias, d.MLPBias, *back, want)
	}
	return b.Bytes(), nil
}

// configFields are the keys of config.json; encoding/json sorts them, as transformers does.
func (d *Decoder) configFields(fam family, dtype dtypes.DType) map[string]any {
	c := map[string]any{
		"architectures": []string{fam.architecture}, "model_type": fam.name,
		"hidden_size": d.Hidden, "intermediate_size": d.Intermediate, "num_hidden_layers": d.Layers,
		"num_attention_heads": d.Heads, "num_key_value_heads": d.KVHeads, "head_dim": d.HeadDim,
		"vocab_size": d.Vocab, "max_position_embeddings": d.MaxPositions, "rms_norm_eps": d.NormEps,
		"hidden_act": d.Activation, "tie_word_embeddings": d.TiedHead, "initializer_range": 0.02, "use_cache": true,
		"rope_theta": d.Rope.Theta, "rope_scaling": d.ropeScaling(),
		"bos_token_id": idOrNull(d.BOS), "pad_token_id": idOrNull(d.Pad), "eos_token_id": idsOrNull(d.EOS),
		"torch_dtype": TorchName(dtype),
	}
	if fam.bias == biasAttention {
		c["attention_bias"] = d.QKVBias
	}
	if fam.mlpBias {
		c["mlp_bias"] = d.MLPBias
	}
	if d.Rope.Dim != d.HeadDim {
		c["partial_rotary_factor"] = float64(d.Rope.Dim) / float64(d.HeadDim)
	}
	if fam.originalMax != 0 {
		c["original_max_position_embeddings"] = fam.originalMax
		if d.Rope.OriginalMaxPositions != 0 {
			c["original_max_position_embeddings"] = d.Rope.OriginalMaxPositions
		}
	}
	if fam.noRope {
		c["no_rope_layers"] = d.ropeFlags()
	}
	d.windowFields(fam, c)
	return c
}

// windowFields adds what says which layers slide.
func (d *Decoder) windowFields(fam family, c map[string]any) {
	if fam.windows == windowNever {
		return
	}
	var window any
	types := make([]string, d.Layers)
	for i := range types {
		types[i] = fullAttention
		if d.Window != nil && d.Window[i] > 0 {
			types[i], window = slidingAttention, d.Window[i]
		}
	}
	c["sliding_window"] = window
	if fam.windows != windowAll {
		c["use_sliding_window"] = window != nil
		c["layer_types"] = types
	}
}

// ropeScaling is the rope_scaling object; nil for the plain kind.
func (d *Decoder) ropeScaling() any {
	r := d.Rope
	s := map[string]any{"rope_type": r.Kind, "factor": r.Factor}
	switch r.Kind {
	case "default":
		return nil
	case "llama3":
		s["low_freq_factor"], s["high_freq_factor"] = r.LowFreqFactor, r.HighFreqFactor
		s["original_max_position_embeddings"] = r.OriginalMaxPositions
	case "yarn":
		s["beta_fast"], s["beta_slow"], s["truncate"] = r.BetaFast, r.BetaSlow, !r.NoTruncate
		s["original_max_position_embeddings"] = r.OriginalMaxPositions
	case "longrope":
		s["short_factor"], s["long_factor"] = r.ShortFactor, r.LongFactor
		s["original_max_position_embeddings"] = r.OriginalMaxPositions
	}
	if r.AttentionFactor != 0 {
		s["attention_factor"] = r.AttentionFactor
	}
	return s
}

// ropeFlags is SmolLM3's no_rope_layers: 1 where a layer has rotary.
func (d *Decoder) ropeFlags() []int {
	flags := make([]int, d.Layers)
	for i := range flags {
		if d.NoRope == nil || !d.NoRope[i] {
			flags[i] = 1
		}
	}
	return flags
}

// TorchName is torch's name of a dtype, as config.json has it: "bfloat16".
func TorchName(dtype dtypes.DType) string {
	switch dtype {
	case dtypes.BFloat16:
		return "bfloat16"
	case dtypes.Float16:
		return "float16"
	default:
		return "float32"
	}
}

func idOrNull(id int) any {
	if id < 0 {
		return nil
	}
	return id
}

func idsOrNull(ids []int) any {
	switch len(ids) {
	case 0:
		return nil
	case 1:
		return ids[0]
	}
	return ids
}
