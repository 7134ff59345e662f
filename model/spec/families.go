package spec

import (
	"slices"
	"strings"
)

// biasRule says which attention projections of a family have a bias.
type biasRule int

const (
	biasNever     biasRule = iota
	biasQKV                // q, k, v always; o never (Qwen2)
	biasAttention          // attention_bias: q, k, v and o together (Llama, Qwen3, SmolLM3)
)

// windowRule says how a family decides which layers slide.
type windowRule int

const (
	windowNever windowRule = iota
	windowAll              // sliding_window, unless null, on every layer (Mistral, Phi-3)
	windowUpper            // with use_sliding_window: layer_types, else layers from max_window_layers on (Qwen)
	windowNoPE             // with use_sliding_window: layer_types, else the layers without rotary (SmolLM3)
)

// family is what transformers' configuration and modeling classes of one model_type fix or default.
// A key that config.json leaves out has the default that is written here, not Llama's.
type family struct {
	name         string // model_type
	architecture string // the causal-LM class in "architectures"

	vocab, hidden, intermediate, layers, heads int
	kvHeads                                    int // 0 = heads
	headDim                                    int // 0 = hidden / heads
	maxPositions                               int
	normEps, theta                             float64
	tied                                       bool
	bos, pad                                   int // -1 = none
	eos                                        []int
	window                                     int // sliding_window; 0 = null

	bias        biasRule
	mlpBias     bool // mlp_bias is read
	qkNorm      bool
	fused       bool
	noRope      bool // no_rope_layers is read
	partialRope bool // partial_rotary_factor is honoured
	windows     windowRule
	originalMax int      // default of a top-level original_max_position_embeddings; 0 = no such key
	ropeKinds   []string // allowed kinds
}

var anyRope = []string{"default", "linear", "dynamic", "llama3", "yarn", "longrope"}

// families holds the defaults of transformers 5.23 (models/*/configuration_*.py).
var families = []family{
	{
		name: "llama", architecture: "LlamaForCausalLM",
		vocab: 32000, hidden: 4096, intermediate: 11008, layers: 32, heads: 32, maxPositions: 2048,
		normEps: 1e-6, theta: 10000, bos: 1, eos: []int{2}, pad: -1,
		bias: biasAttention, mlpBias: true, ropeKinds: anyRope,
	},
	{
		name: "mistral", architecture: "MistralForCausalLM",
		vocab: 32000, hidden: 4096, intermediate: 14336, layers: 32, heads: 32, kvHeads: 8, maxPositions: 131072,
		normEps: 1e-6, theta: 10000, bos: 1, eos: []int{2}, pad: -1,
		window: 4096, windows: windowAll, ropeKinds: anyRope,
	},
	{
		name: "qwen2", architecture: "Qwen2ForCausalLM",
		vocab: 151936, hidden: 4096, intermediate: 22016, layers: 32, heads: 32, kvHeads: 32, maxPositions: 32768,
		normEps: 1e-6, theta: 10000, bos: -1, pad: -1,
		bias: biasQKV, window: 4096, windows: windowUpper, ropeKinds: anyRope,
	},
	{
		name: "qwen3", architecture: "Qwen3ForCausalLM",
		vocab: 151936, hidden: 4096, intermediate: 22016, layers: 32, heads: 32, kvHeads: 32, headDim: 128,
		maxPositions: 32768, normEps: 1e-6, theta: 10000, bos: -1, pad: -1,
		bias: biasAttention, qkNorm: true, window: 4096, windows: windowUpper, ropeKinds: anyRope,
	},
	{
		name: "smollm3", architecture: "SmolLM3ForCausalLM",
		vocab: 128256, hidden: 2048, intermediate: 11008, layers: 36, heads: 16, kvHeads: 4, maxPositions: 32768,
		normEps: 1e-6, theta: 2000000, tied: true, bos: 128000, eos: []int{128001}, pad: 128004,
		bias: biasAttention, mlpBias: true, noRope: true, windows: windowNoPE, ropeKinds: anyRope,
	},
	{
		name: "phi3", architecture: "Phi3ForCausalLM",
		vocab: 32064, hidden: 3072, intermediate: 8192, layers: 32, heads: 32, maxPositions: 4096,
		normEps: 1e-5, theta: 10000, bos: 1, eos: []int{32000}, pad: 32000,
		fused: true, windows: windowAll, partialRope: true, originalMax: 4096, ropeKinds: []string{"default", "longrope"},
	},
}

// Families lists the model_type values that Parse knows, sorted.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	slices.Sort(names)
	return names
}

func findFamily(modelType string) (family, bool) {
	for _, f := range families {
		if f.name == modelType {
			return f, true
		}
	}
	return family{}, false
}

func knownFamilies() string { return strings.Join(Families(), ", ") }
