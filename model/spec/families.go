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
	biasAttention          // attention_bias: q, k, v and o together (all others)
)

// windowRule says how a family decides which layers slide.
type windowRule int

const (
	windowNever  windowRule = iota
	windowAll               // sliding_window, unless null, on every layer (Mistral, Phi-3)
	windowUpper             // with use_sliding_window: layer_types, else layers from max_window_layers on (Qwen)
	windowSwitch            // with use_sliding_window: on every layer (Qwen3-MoE)
	windowNoPE              // with use_sliding_window: layer_types, else the layers without rotary (SmolLM3)
	windowTypes             // layer_types, else all but every so manyth layer (Gemma 2 and 3)
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

	norms                  NormPlacement
	normPlusOne            bool
	qkNormWide             bool
	gelu                   bool    // hidden_activation, which may be gelu_pytorch_tanh alone
	queryScalar            float64 // query_pre_attn_scalar; 0 = no such key, and no soft caps and no scaled embedding
	attentionCap, logitCap float64 // 0 = null
	multipliers            bool    // Granite's four
	windowEvery            int     // every so manyth layer is full
	windowEveryKey         string  // the key that says otherwise; "" = none
	localTheta             float64 // of sliding layers; 0 = as all
	mixture                *mixtureRule
	noGGUF                 bool // no GGUF files of it are read or written
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
	{
		name: "gemma2", architecture: "Gemma2ForCausalLM",
		vocab: 256000, hidden: 2304, intermediate: 9216, layers: 26, heads: 8, kvHeads: 4, headDim: 256, maxPositions: 8192,
		normEps: 1e-6, theta: 10000, tied: true, bos: 2, eos: []int{1}, pad: 0,
		bias: biasAttention, window: 4096, windows: windowTypes, windowEvery: 2, ropeKinds: anyRope,
		norms: NormAround, normPlusOne: true, gelu: true, queryScalar: 256, attentionCap: 50, logitCap: 30, noGGUF: true,
	},
	{
		name: "gemma3_text", architecture: "Gemma3ForCausalLM",
		vocab: 262208, hidden: 2304, intermediate: 9216, layers: 26, heads: 8, kvHeads: 4, headDim: 256, maxPositions: 131072,
		normEps: 1e-6, theta: 1000000, tied: true, bos: 2, eos: []int{1}, pad: 0,
		bias: biasAttention, qkNorm: true, window: 4096, windows: windowTypes, windowEvery: 6, windowEveryKey: "sliding_window_pattern",
		localTheta: 10000, ropeKinds: anyRope,
		norms: NormAround, normPlusOne: true, gelu: true, queryScalar: 256, noGGUF: true,
	},
	{
		name: "olmo2", architecture: "Olmo2ForCausalLM",
		vocab: 50304, hidden: 4096, intermediate: 11008, layers: 32, heads: 32, maxPositions: 2048,
		normEps: 1e-5, theta: 10000, bos: -1, eos: []int{50279}, pad: 1,
		bias: biasAttention, qkNorm: true, qkNormWide: true, ropeKinds: anyRope, norms: NormAfter, noGGUF: true,
	},
	{
		name: "granite", architecture: "GraniteForCausalLM",
		vocab: 32000, hidden: 4096, intermediate: 11008, layers: 32, heads: 32, maxPositions: 2048,
		normEps: 1e-6, theta: 10000, bos: 1, eos: []int{2}, pad: -1,
		bias: biasAttention, mlpBias: true, ropeKinds: anyRope, multipliers: true, noGGUF: true,
	},
	{
		name: "mixtral", architecture: "MixtralForCausalLM",
		vocab: 32000, hidden: 4096, intermediate: 14336, layers: 32, heads: 32, kvHeads: 8, maxPositions: 131072,
		normEps: 1e-5, theta: 1000000, bos: 1, eos: []int{2}, pad: -1,
		windows: windowAll, ropeKinds: anyRope, noGGUF: true,
		mixture: &mixtureRule{experts: 8, perToken: 2, normalized: true, module: "block_sparse_moe", gate: "w1", up: "w3", down: "w2"},
	},
	{
		name: "qwen3_moe", architecture: "Qwen3MoeForCausalLM",
		vocab: 151936, hidden: 2048, intermediate: 6144, layers: 24, heads: 32, kvHeads: 4, maxPositions: 32768,
		normEps: 1e-6, theta: 10000, bos: -1, pad: -1,
		bias: biasAttention, qkNorm: true, window: 4096, windows: windowSwitch, ropeKinds: anyRope, noGGUF: true,
		mixture: &mixtureRule{experts: 128, perToken: 8, width: 768, module: "mlp", gate: "gate_proj", up: "up_proj", down: "down_proj"},
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
