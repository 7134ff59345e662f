package spec

import "github.com/gomlx/compute/dtypes"

// Decoder is one decoder-only transformer described by data: sizes, and the few choices in which
// the supported families differ. It holds no weights and knows no device.
type Decoder struct {
	Family string // model_type of config.json: "llama", "gemma2"; see Families

	Layers       int // decoder blocks
	Hidden       int // width of the residual stream
	Intermediate int // width of the gated MLP
	Heads        int // query heads
	KVHeads      int // key and value heads; Heads is a multiple of it
	HeadDim      int // size of one head
	Vocab        int // rows of the embedding and of the head
	MaxPositions int // longest sequence the model was trained for

	NormEps    float64 // epsilon of every RMSNorm
	Activation string  // of the gate: "silu" or "gelu_tanh"
	TiedHead   bool    // the head is the embedding
	QKVBias    bool    // q, k, v projections have a bias
	OBias      bool    // the output projection has a bias
	MLPBias    bool    // gate, up, down projections have a bias
	QKNorm     bool    // RMSNorm over each head of q and k, before rotary
	FusedQKV   bool    // the checkpoint holds qkv_proj instead of q_proj, k_proj, v_proj (Phi-3)
	FusedMLP   bool    // the checkpoint holds gate_up_proj instead of gate_proj, up_proj (Phi-3)

	// What only some families have; a zero value is the plain way.
	Norms          NormPlacement
	NormPlusOne    bool     // the weights of norms are stored less one (Gemma)
	QKNormWide     bool     // QKNorm is over all heads of q and of k together (OLMo 2)
	AttentionScale float64  // of the scores; 0 = 1/sqrt(HeadDim)
	AttentionCap   float64  // scores are c*tanh(x/c); 0 = not (Gemma 2)
	LogitCap       float64  // the same of logits
	EmbedScale     float64  // multiplies the embedding's rows; 0 = 1 (Gemma, Granite)
	ResidualScale  float64  // multiplies what attention and MLP add; 0 = 1 (Granite)
	LogitScale     float64  // multiplies the logits; 0 = 1 (Granite)
	LocalRope      *Rope    // of the layers with a window; nil = Rope (Gemma 3)
	Mixture        *Mixture // experts in the place of MLPs; nil = none (Mixtral, Qwen3-MoE)

	Rope   Rope   // rotary embedding
	NoRope []bool // per layer: no rotary here (SmolLM3); nil = rotary everywhere
	Window []int  // per layer: keys a query sees, itself included; 0 = all before it; nil = all layers full

	BOS int   // id of the beginning-of-sequence token, -1 if none
	EOS []int // ids that end a generation
	Pad int   // id of the padding token, -1 if none

	DType dtypes.DType // the checkpoint's dtype as its config says; InvalidDType if it does not say
}

// Rope describes the rotary embedding. Angles are position * InvFreq[i]; pairs are (i, i+Dim/2), the
// half-split layout of Hugging Face checkpoints.
type Rope struct {
	Theta float64
	Dim   int    // rotated part of each head; HeadDim unless partial_rotary_factor says less
	Kind  string // "default", "linear", "dynamic", "llama3", "yarn", "longrope", "factors"

	Factor               float64
	LowFreqFactor        float64   // llama3
	HighFreqFactor       float64   // llama3
	OriginalMaxPositions int       // llama3, yarn, longrope; dynamic: max_position_embeddings
	BetaFast, BetaSlow   float64   // yarn
	NoTruncate           bool      // yarn: keep the fractional correction range
	AttentionFactor      float64   // yarn, longrope; 0 = derived
	ShortFactor          []float64 // longrope, factors (divisors of a GGUF's rope_freqs): Dim/2 values
	LongFactor           []float64 // longrope, Dim/2 values
}

// Linear is one linear layer of the checkpoint, named as in Hugging Face:
// "model.layers.3.self_attn.q_proj". Its weight is Name + ".weight", [Out, In].
type Linear struct {
	Name    string
	Layer   int // block index; -1 for lm_head
	In, Out int
	Bias    bool
}
