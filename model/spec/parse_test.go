package spec

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReportsEveryFaultAtOnce(t *testing.T) {
	_, err := Parse([]byte(`{
		"model_type": "llama", "hidden_size": "4096", "num_hidden_layers": 0, "vocab_size": -3,
		"num_attention_heads": 32, "num_key_value_heads": 5, "rms_norm_eps": 0, "hidden_act": "gelu",
		"quantization_config": {"quant_method": "gptq"}, "attention_dropout": 0.1, "tie_word_embeddings": 1,
		"rope_scaling": {"rope_type": "llama3", "factor": 8}, "rope_theta": -1, "eos_token_id": [2, "x"],
		"torch_dtype": "int4", "num_local_experts": 8
	}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`hidden_size: is "4096", must be an integer`, "num_hidden_layers: is 0", "vocab_size: is -3",
		"not a multiple of num_key_value_heads 5", "rms_norm_eps: is 0", `hidden_act: is "gelu"`,
		"quantization_config: quantised", "attention_dropout: is 0.1", "tie_word_embeddings: is 1",
		"rope_scaling.low_freq_factor: is missing", "rope_scaling.high_freq_factor: is missing",
		"rope_theta: is -1", "eos_token_id: item 1", `torch_dtype: is "int4"`, "num_local_experts: is 8; a llama model with a mixture",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ name, config, want string }{
		{"not JSON", `{"model_type": `, "not a JSON object"},
		{"a list", `[1]`, "not a JSON object"},
		{"unknown", `{"model_type": "mamba"}`, `unknown model_type "mamba"; known: gemma2, gemma3_text, granite, llama, mistral, mixtral, olmo2, phi3, qwen2, qwen3, qwen3_moe, smollm3`},
		{"no type", `{"hidden_size": 4}`, "model_type is missing"},
		{"classifier", `{"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}`, "LlamaForSequenceClassification"},
		{"head_dim missing", `{"model_type": "llama", "hidden_size": 100, "num_attention_heads": 7, "num_key_value_heads": 7}`, "hidden_size: is 100, not a multiple"},
		{"odd head", `{"model_type": "llama", "head_dim": 63}`, "rotary dimension: is 63, must be even"},
		{"window zero", `{"model_type": "mistral", "sliding_window": 0}`, "sliding_window: is 0"},
		{"short layer_types", `{"model_type": "qwen2", "layer_types": ["full_attention"]}`, "layer_types: has 1 entries, num_hidden_layers is 32"},
		{"odd layer type", `{"model_type": "qwen2", "num_hidden_layers": 1, "layer_types": ["linear_attention"]}`, `layer_types: entry 0 is "linear_attention"`},
		{"sliding without window", `{"model_type": "qwen3", "num_hidden_layers": 1, "layer_types": ["sliding_attention"]}`, "no window is set"},
		{"mistral with mixed layers", `{"model_type": "mistral", "num_hidden_layers": 1, "layer_types": ["full_attention"]}`, "on every layer"},
		{"short no_rope_layers", `{"model_type": "smollm3", "no_rope_layers": [1, 0]}`, "no_rope_layers: has 2 entries"},
		{"no_rope interval", `{"model_type": "smollm3", "no_rope_layer_interval": 0}`, "no_rope_layer_interval: is 0"},
		{"padding outside", `{"model_type": "llama", "pad_token_id": 32000}`, "pad_token_id: is 32000, outside"},
		{"rope kind", `{"model_type": "llama", "rope_scaling": {"type": "mrope"}}`, `rope_scaling.rope_type: is "mrope"`},
		{"rope not an object", `{"model_type": "llama", "rope_scaling": 3}`, "rope_scaling: is 3, must be an object"},
		{"phi3 linear", `{"model_type": "phi3", "rope_scaling": {"type": "linear", "factor": 2}}`, "a phi3 model may have: default, longrope"},
		{"factor count", `{"model_type": "phi3", "rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1, 2]}}`, "rope_scaling.short_factor: has 1 values"},
		{"factor zero", `{"model_type": "phi3", "hidden_size": 128, "rope_scaling": {"type": "longrope", "short_factor": [1, 0], "long_factor": [1, 2]}}`, "short_factor: value 1 is 0"},
		{"partial elsewhere", `{"model_type": "llama", "partial_rotary_factor": 0.5}`, "partial_rotary_factor: is 0.5; a llama model rotates whole heads"},
		{"partial of two", `{"model_type": "phi3", "partial_rotary_factor": 2}`, "partial_rotary_factor: is 2"},
		{"per layer type", `{"model_type": "qwen3", "rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}}`, "rotary parameters per layer type"},
		{"layer type without rope", `{"model_type": "qwen3", "rope_parameters": {"full_attention": null}}`, "has no rotary parameters"},
		{"missing factor", `{"model_type": "llama", "rope_parameters": {"rope_type": "linear"}}`, "rope_parameters.factor: is missing"},
		{"huge", `{"model_type": "llama", "num_hidden_layers": 99999999}`, "num_hidden_layers: is 99999999"},
		{"huge number", `{"model_type": "llama", "vocab_size": 1e300}`, "vocab_size: is 1e300, must be an integer"},
		{"auxiliary loss", `{"model_type": "mixtral", "output_router_logits": true, "router_aux_loss_coef": -1}`, "router_aux_loss_coef: is -1"},
		{"jitter", `{"model_type": "mixtral", "router_jitter_noise": 0.1}`, "router_jitter_noise: is 0.1"},
		{"too many picks", `{"model_type": "mixtral", "num_experts_per_tok": 9}`, "num_experts_per_tok: is 9, must be 1 to 8"},
		{"no experts", `{"model_type": "qwen3_moe", "num_experts": 0}`, "num_experts (num_local_experts): is 0"},
		{"no width", `{"model_type": "qwen3_moe", "moe_intermediate_size": 0}`, "moe_intermediate_size: is 0"},
		{"sparse step", `{"model_type": "qwen3_moe", "decoder_sparse_step": 0}`, "decoder_sparse_step: is 0"},
		{"mrope", `{"model_type": "qwen2", "use_mrope": true}`, "use_mrope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.config))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

func TestLayers(t *testing.T) {
	for _, c := range []struct {
		name, config string
		window       []int
		noRope       []bool
	}{
		{"mistral's default window", `{"model_type": "mistral", "num_hidden_layers": 2}`, []int{4096, 4096}, nil},
		{"mistral without", `{"model_type": "mistral", "num_hidden_layers": 2, "sliding_window": null}`, nil, nil},
		{"mistral with layer_types", `{"model_type": "mistral", "num_hidden_layers": 2, "sliding_window": 8, "layer_types": ["sliding_attention", "sliding_attention"]}`, []int{8, 8}, nil},
		{"llama has none", `{"model_type": "llama", "num_hidden_layers": 2, "sliding_window": 8}`, nil, nil},
		{"qwen2 unused", `{"model_type": "qwen2", "num_hidden_layers": 2, "sliding_window": 8, "max_window_layers": 0}`, nil, nil},
		{"qwen2 upper layers", `{"model_type": "qwen2", "num_hidden_layers": 3, "sliding_window": 8, "use_sliding_window": true, "max_window_layers": 2}`, []int{0, 0, 8}, nil},
		{"qwen2 no layer reaches 28", `{"model_type": "qwen2", "num_hidden_layers": 3, "sliding_window": 8, "use_sliding_window": true}`, nil, nil},
		{"qwen3 layer_types", `{"model_type": "qwen3", "num_hidden_layers": 2, "sliding_window": 8, "use_sliding_window": true, "layer_types": ["sliding_attention", "full_attention"]}`, []int{8, 0}, nil},
		{"qwen3 default width", `{"model_type": "qwen3", "num_hidden_layers": 1, "use_sliding_window": true, "max_window_layers": 0}`, []int{4096}, nil},
		{"smollm3", `{"model_type": "smollm3", "num_hidden_layers": 5}`, nil, []bool{false, false, false, true, false}},
		{"smollm3 list is longer", `{"model_type": "smollm3", "num_hidden_layers": 2, "no_rope_layers": [0, 1, 0]}`, nil, []bool{true, false}},
		{"smollm3 everywhere", `{"model_type": "smollm3", "num_hidden_layers": 2, "no_rope_layers": [1, 1]}`, nil, nil},
		{"smollm3 sliding", `{"model_type": "smollm3", "num_hidden_layers": 2, "no_rope_layer_interval": 2, "use_sliding_window": true, "sliding_window": 9}`, []int{0, 9}, []bool{false, true}},
		{"mixtral", `{"model_type": "mixtral", "num_hidden_layers": 2}`, nil, nil},
		{"qwen3-moe everywhere", `{"model_type": "qwen3_moe", "num_hidden_layers": 2, "use_sliding_window": true, "max_window_layers": 1}`, []int{4096, 4096}, nil},
		{"phi3", `{"model_type": "phi3", "num_hidden_layers": 2, "sliding_window": 2047}`, []int{2047, 2047}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse([]byte(c.config))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(d.Window, c.window) || !slices.Equal(d.NoRope, c.noRope) {
				t.Errorf("window %v, no rope %v; want %v, %v", d.Window, d.NoRope, c.window, c.noRope)
			}
		})
	}
}

func TestStylesAgree(t *testing.T) {
	hub := `{"model_type": "llama", "torch_dtype": "bfloat16", "rope_theta": 5e5, "max_position_embeddings": 131072,
		"rope_scaling": {"type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}`
	five := `{"model_type": "llama", "dtype": "bfloat16", "max_position_embeddings": 131072,
		"rope_parameters": {"rope_type": "llama3", "rope_theta": 500000, "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}}`
	nested := strings.Replace(strings.Replace(five, `{"rope_type"`, `{"full_attention": {"rope_type"`, 1), "8192}", "8192}}", 1)
	noType := strings.Replace(five, `"model_type": "llama"`, `"architectures": ["LlamaForCausalLM"]`, 1)
	want, err := Parse([]byte(hub))
	if err != nil {
		t.Fatal(err)
	}
	if want.Rope.Kind != "llama3" || want.DType.String() != "BFloat16" {
		t.Errorf("hub style: %+v", want)
	}
	for _, config := range []string{five, nested, noType, "\xef\xbb\xbf" + five} {
		got, err := Parse([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", config, diff)
		}
	}
}

func TestTokenIDs(t *testing.T) {
	for _, c := range []struct {
		config   string
		bos, pad int
		eos      []int
	}{
		{`{"model_type": "llama"}`, 1, -1, []int{2}},
		{`{"model_type": "llama", "bos_token_id": null, "eos_token_id": null}`, -1, -1, nil},
		{`{"model_type": "llama", "pad_token_id": -1, "eos_token_id": [2, 2, 7, 99999]}`, 1, -1, []int{2, 7}},
		{`{"model_type": "smollm3", "vocab_size": 64}`, -1, -1, nil},
		{`{"model_type": "qwen2", "eos_token_id": 5.0}`, -1, -1, []int{5}},
	} {
		d, err := Parse([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if d.BOS != c.bos || d.Pad != c.pad || !slices.Equal(d.EOS, c.eos) {
			t.Errorf("%s: bos %d, eos %v, pad %d", c.config, d.BOS, d.EOS, d.Pad)
		}
	}
}

// FuzzParse: no input panics, and what is accepted has consistent tensors and usable frequencies.
func FuzzParse(f *testing.F) {
	for _, fam := range families {
		f.Add(fmt.Appendf(nil, `{"model_type": %q, "num_hidden_layers": 2, "use_sliding_window": true, "rope_scaling": {"type": "yarn", "factor": 2}}`, fam.name))
	}
	f.Add([]byte(`{"model_type": "phi3", "hidden_size": 128, "rope_scaling": {"type": "longrope", "short_factor": [1, 2], "long_factor": [1, 2]}}`))
	f.Add([]byte(`{"model_type": "llama", "rope_parameters": {"full_attention": {"rope_type": "dynamic", "factor": 2}}, "eos_token_id": [1, 2]}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		d, err := Parse(config)
		if err != nil {
			return
		}
		if d.Params().Total <= 0 || len(d.BlockTensors(d.Layers-1)) < 2 {
			t.Errorf("%+v: no parameters", d)
		}
		for _, seq := range []int{1, d.MaxPositions + 1} {
			inv, scale := d.Rope.InvFreq(seq)
			if len(inv) != d.Rope.Dim/2 || !(scale > 0) {
				t.Errorf("%+v: %d frequencies, scale %v", d.Rope, len(inv), scale)
			}
		}
	})
}

func TestAddGenerationConfig(t *testing.T) {
	d := small("llama", 1)
	if err := d.AddGenerationConfig([]byte(`{"eos_token_id": [2, 31999, 32000], "temperature": 0.6}`)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.EOS, []int{2, 31999}) {
		t.Errorf("eos %v", d.EOS)
	}
	if err := d.AddGenerationConfig([]byte(`{"eos_token_id": "x"}`)); err == nil || !strings.Contains(err.Error(), "generation_config.json: eos_token_id") {
		t.Errorf("error %v", err)
	}
}
