package spec

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// GGUF tensors that carry rotary factors: divisors of the inverse frequencies.
const (
	GGUFRopeFreqs    = "rope_freqs.weight"
	GGUFFactorsLong  = "rope_factors_long.weight"
	GGUFFactorsShort = "rope_factors_short.weight"
)

// ggufArchitectures maps general.architecture to a family.
var ggufArchitectures = map[string]string{
	"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "smollm3": "smollm3",
}

// smolLM3Interval is how often llama.cpp's smollm3 has a layer without rotary; metadata does not say.
const smolLM3Interval = 4

// FromGGUF reads the metadata of a GGUF file. hasTensor says whether the file has a tensor of that GGUF
// name: presence of biases, norms and of output.weight is how GGUF tells them. When the file carries
// rotary factors in tensors (Llama 3.1's rope_freqs, Phi-3's long and short factors), Rope.Kind is
// "factors" or "longrope" and the caller must hand them to SetRopeFactors before Rope is used.
// All faults are reported, joined, with the metadata key.
func FromGGUF(values map[string]any, hasTensor func(string) bool) (*Decoder, error) {
	m := &meta{values: values}
	arch := m.string("general.architecture", "")
	famName, ok := ggufArchitectures[arch]
	if !ok {
		known := make([]string, 0, len(ggufArchitectures))
		for name := range ggufArchitectures {
			known = append(known, name)
		}
		slices.Sort(known)
		return nil, fmt.Errorf("gguf: unknown general.architecture %q; known: %s", arch, strings.Join(known, ", "))
	}
	fam, _ := findFamily(famName)
	d := decoderFromMeta(m, arch, fam, hasTensor)
	if err := errors.Join(append(m.faults, d.impossible()...)...); err != nil {
		return nil, fmt.Errorf("gguf metadata of a %s model:\n%w", arch, err)
	}
	return d, nil
}

func decoderFromMeta(m *meta, arch string, fam family, hasTensor func(string) bool) *Decoder {
	key := func(name string) string { return arch + "." + name }
	d := &Decoder{
		Family:       fam.name,
		Layers:       m.need(key("block_count")),
		Hidden:       m.need(key("embedding_length")),
		Intermediate: m.need(key("feed_forward_length")),
		Heads:        m.need(key("attention.head_count")),
		MaxPositions: m.need(key("context_length")),
		NormEps:      m.float(key("attention.layer_norm_rms_epsilon"), fam.normEps),
		Vocab:        m.int(key("vocab_size"), m.length("tokenizer.ggml.tokens")),
		Activation:   "silu",
		TiedHead:     !hasTensor("output.weight"),
		QKVBias:      hasTensor("blk.0.attn_q.bias") || hasTensor("blk.0.attn_qkv.bias"),
		OBias:        hasTensor("blk.0.attn_output.bias"),
		MLPBias:      hasTensor("blk.0.ffn_down.bias"),
		QKNorm:       hasTensor("blk.0.attn_q_norm.weight"),
		FusedQKV:     hasTensor("blk.0.attn_qkv.weight"),
		FusedMLP:     !hasTensor("blk.0.ffn_gate.weight"),
	}
	d.KVHeads = m.int(key("attention.head_count_kv"), d.Heads)
	if d.Heads > 0 {
		d.HeadDim = d.Hidden / d.Heads
	}
	d.HeadDim = m.int(key("attention.key_length"), d.HeadDim)
	if v := m.int(key("attention.value_length"), d.HeadDim); v != d.HeadDim {
		m.fail(key("attention.value_length"), "is %d, key_length is %d; unequal ones are not supported", v, d.HeadDim)
	}
	if m.int(key("expert_count"), 0) > 1 || hasTensor("blk.0.ffn_gate_inp.weight") {
		m.fail(key("expert_count"), "mixtures of experts are not read from GGUF files: use the Hugging Face format")
		d.FusedMLP = false
	}
	if d.Layers > 0 && d.Layers <= maxLayers {
		if fam.noRope {
			d.NoRope = make([]bool, d.Layers)
			for i := range d.NoRope {
				d.NoRope[i] = (i+1)%smolLM3Interval == 0
			}
			d.NoRope = nilIfAll(d.NoRope, false)
		}
		metaWindow(m, arch, d)
	}
	metaTokens(m, d)
	d.Rope = ropeFromMeta(m, arch, fam, d, hasTensor)
	return d
}

// metaWindow reads the window of the two architectures that slide on every layer: phi3, and Mistral's
// models, which GGUF files call llama.
func metaWindow(m *meta, arch string, d *Decoder) {
	window := m.int(arch+".attention.sliding_window", 0)
	if window == 0 || (arch != "phi3" && arch != "llama") {
		return
	}
	if window < 0 {
		m.fail(arch+".attention.sliding_window", "is %d, must not be negative", window)
		return
	}
	if arch == "llama" {
		d.Family = "mistral"
	}
	d.Window = make([]int, d.Layers)
	for i := range d.Window {
		d.Window[i] = window
	}
}

func metaTokens(m *meta, d *Decoder) {
	id := func(key string) int {
		n := m.int("tokenizer.ggml."+key, -1)
		if n < 0 || n >= d.Vocab {
			return -1
		}
		return n
	}
	d.BOS, d.Pad = id("bos_token_id"), id("padding_token_id")
	for _, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		if n := id(key); n >= 0 && !slices.Contains(d.EOS, n) {
			d.EOS = append(d.EOS, n)
		}
	}
}

func ropeFromMeta(m *meta, arch string, fam family, d *Decoder, hasTensor func(string) bool) Rope {
	key := func(name string) string { return arch + ".rope." + name }
	r := Rope{
		Kind:  "default",
		Theta: m.float(key("freq_base"), 10000),
		Dim:   m.int(key("dimension_count"), d.HeadDim),
	}
	if r.Dim != d.HeadDim && !fam.partialRope {
		m.fail(key("dimension_count"), "is %d, the head has %d; partial rotary is not supported for %s", r.Dim, d.HeadDim, arch)
	}
	original := m.int(key("scaling.original_context_length"), d.MaxPositions)
	attention := m.float(key("scaling.attn_factor"), 0)
	kind := m.string(key("scaling.type"), "none")
	factor := m.float(key("scaling.factor"), 0)
	if factor == 0 {
		factor = m.float(key("scale_linear"), 0) // older files
		if factor > 0 && kind == "none" {
			kind = "linear"
		}
	}
	switch {
	case hasTensor(GGUFFactorsLong) || hasTensor(GGUFFactorsShort):
		r.Kind, r.OriginalMaxPositions = "longrope", original
		r.Factor = ratio(d.MaxPositions, original)
		r.AttentionFactor = attention
		if derived := (Rope{Kind: "longrope", Factor: r.Factor, OriginalMaxPositions: original}).attention(); math.Abs(derived-attention) < 1e-6*derived {
			r.AttentionFactor = 0
		}
	case hasTensor(GGUFRopeFreqs):
		r.Kind = "factors"
	case kind == "none" || kind == "linear" && (factor == 0 || factor == 1):
	case kind == "linear":
		r.Kind, r.Factor = "linear", factor
	case kind == "yarn":
		r.Kind, r.Factor, r.OriginalMaxPositions = "yarn", factor, original
		r.BetaFast = m.float(key("scaling.yarn_beta_fast"), 32)
		r.BetaSlow = m.float(key("scaling.yarn_beta_slow"), 1)
		if attention != 0 && attention != 1 || m.float(key("scaling.yarn_log_multiplier"), 0) != 0 {
			m.fail(key("scaling.attn_factor"), "its own attention factor beside yarn is not supported")
		}
	case kind == "longrope":
		m.fail(key("scaling.type"), "is longrope, but the tensors %s and %s are missing", GGUFFactorsLong, GGUFFactorsShort)
	default:
		m.fail(key("scaling.type"), "is %q; supported: none, linear, yarn, longrope", kind)
	}
	return r
}

// SetRopeFactors completes a Rope of kind "longrope" or "factors" with the values of a GGUF file's
// tensors: rope_factors_short and rope_factors_long, or rope_freqs as short and nil as long. Factors that
// Llama 3.1's rule gives become kind "llama3" with its parameters, so that they can be written to
// config.json again.
func (d *Decoder) SetRopeFactors(short, long []float32) error {
	r := d.Rope
	r.ShortFactor, r.LongFactor = toFloat64(short), toFloat64(long)
	var faults []error
	switch r.Kind {
	case "longrope":
		faults = append(faults, checkFactors(GGUFFactorsShort, r.ShortFactor, r.Dim), checkFactors(GGUFFactorsLong, r.LongFactor, r.Dim))
	case "factors":
		faults = append(faults, checkFactors(GGUFRopeFreqs, r.ShortFactor, r.Dim))
		r.LongFactor = nil
	default:
		faults = append(faults, fmt.Errorf("rope kind %q takes no factors", r.Kind))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if r.Kind == "factors" {
		if known, ok := r.asLlama3(); ok {
			r = known
		}
	}
	d.Rope = r
	return nil
}

// asLlama3 recovers Llama 3.1's parameters from divisors. The published models differ in the factor
// alone, which is the largest divisor.
func (r Rope) asLlama3() (Rope, bool) {
	known := Rope{
		Theta: r.Theta, Dim: r.Dim, Kind: "llama3",
		Factor: slices.Max(r.ShortFactor), LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192,
	}
	got, _ := known.InvFreq(0)
	want, _ := r.InvFreq(0)
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > 1e-5*float64(want[i]) {
			return Rope{}, false
		}
	}
	return known, true
}

func toFloat64(list []float32) []float64 {
	if list == nil {
		return nil
	}
	out := make([]float64, len(list))
	for i, x := range list {
		out[i] = float64(x)
	}
	return out
}
