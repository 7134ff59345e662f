package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
)

// maxConfigBytes bounds a config.json: real ones have a few KiB.
const maxConfigBytes = 8 << 20

// Parse reads config.json of a Hugging Face checkpoint, in the style of Hub files (rope_theta,
// rope_scaling, torch_dtype) or of transformers 5 (rope_parameters, dtype). An absent key has the
// default of that model_type's class in transformers. An unknown model_type is refused with the list
// of known ones; every other fault is reported, all joined, each with the name of its field.
func Parse(configJSON []byte) (*Decoder, error) {
	if len(configJSON) > maxConfigBytes {
		return nil, fmt.Errorf("config.json: %d bytes, at most %d are read", len(configJSON), maxConfigBytes)
	}
	var faults []error
	f := fields{faults: &faults}
	if err := json.Unmarshal(bytes.TrimPrefix(configJSON, []byte("\xef\xbb\xbf")), &f.raw); err != nil {
		return nil, fmt.Errorf("config.json: not a JSON object: %w", err)
	}
	fam, err := chooseFamily(f)
	if err != nil {
		return nil, err
	}
	d := decoderFromConfig(f, fam)
	if err := errors.Join(append(faults, d.impossible()...)...); err != nil {
		return nil, fmt.Errorf("config.json of a %s model:\n%w", fam.name, err)
	}
	return d, nil
}

// chooseFamily finds the family by model_type, or by the class name when model_type is absent.
func chooseFamily(f fields) (family, error) {
	modelType := f.string("model_type", "")
	class := ""
	if list := f.strings("architectures"); len(list) > 0 {
		class = list[0]
	}
	if len(*f.faults) > 0 {
		return family{}, fmt.Errorf("config.json: %w", errors.Join(*f.faults...))
	}
	if modelType == "" {
		for _, fam := range families {
			if fam.architecture == class {
				return fam, nil
			}
		}
		return family{}, fmt.Errorf("config.json: model_type is missing; known: %s", knownFamilies())
	}
	fam, ok := findFamily(modelType)
	if !ok {
		return family{}, fmt.Errorf("config.json: unknown model_type %q; known: %s", modelType, knownFamilies())
	}
	if class != "" && class != fam.architecture {
		return family{}, fmt.Errorf("config.json: architectures says %q; only the language model %q can be trained", class, fam.architecture)
	}
	return fam, nil
}

func decoderFromConfig(f fields, fam family) *Decoder {
	d := &Decoder{
		Family:       fam.name,
		Layers:       f.int("num_hidden_layers", fam.layers),
		Hidden:       f.int("hidden_size", fam.hidden),
		Intermediate: f.int("intermediate_size", fam.intermediate),
		Heads:        f.int("num_attention_heads", fam.heads),
		Vocab:        f.int("vocab_size", fam.vocab),
		MaxPositions: f.int("max_position_embeddings", fam.maxPositions),
		NormEps:      f.float("rms_norm_eps", fam.normEps),
		TiedHead:     f.bool("tie_word_embeddings", fam.tied),
		QKNorm:       fam.qkNorm,
		FusedQKV:     fam.fused,
		FusedMLP:     fam.fused,
		DType:        configDType(f),
	}
	d.KVHeads = fam.kvHeads
	if d.KVHeads == 0 || (f.present("num_key_value_heads") && !f.has("num_key_value_heads")) {
		d.KVHeads = d.Heads
	}
	d.KVHeads = f.int("num_key_value_heads", d.KVHeads)
	d.HeadDim = headDim(f, fam, d)

	switch fam.bias {
	case biasQKV:
		d.QKVBias = true
	case biasAttention:
		d.QKVBias = f.bool("attention_bias", false)
		d.OBias = d.QKVBias
	case biasNever:
	}
	if fam.mlpBias {
		d.MLPBias = f.bool("mlp_bias", false)
	}
	d.Activation = SiLU
	if !fam.gelu {
		checkActivation(f)
	}
	variantsFromConfig(f, fam, d)
	d.Mixture = mixtureFromConfig(f, fam, d)
	refuseUnsupported(f, fam)
	tokenIDs(f, fam, d)
	if d.Layers > 0 && d.Layers <= maxLayers {
		d.NoRope = noRopeLayers(f, fam, d.Layers)
		d.Window = windowLayers(f, fam, d)
	}
	d.Rope, d.LocalRope = ropeFromConfig(f, fam, d), localRope(f, fam, d)
	return d
}

// headDim is the explicit head_dim, the family's own, or hidden_size / num_attention_heads.
func headDim(f fields, fam family, d *Decoder) int {
	if f.has("head_dim") {
		return f.int("head_dim", 0)
	}
	if fam.headDim != 0 {
		return fam.headDim
	}
	if d.Heads <= 0 {
		return 0 // reported as a fault of num_attention_heads
	}
	if d.Hidden%d.Heads != 0 {
		f.fail("hidden_size", "is %d, not a multiple of num_attention_heads %d; give head_dim if that is meant", d.Hidden, d.Heads)
	}
	return d.Hidden / d.Heads
}

// The activations.
const (
	SiLU     = "silu"
	GELUTanh = "gelu_tanh"
)

// checkActivation checks hidden_act; transformers knows SiLU under two names.
func checkActivation(f fields) {
	if act := f.string("hidden_act", SiLU); act != SiLU && act != "swish" {
		f.fail("hidden_act", "is %q; only \"silu\" is supported", act)
	}
}

// refuseUnsupported names what changes the computation and is not supported, instead of ignoring it.
func refuseUnsupported(f fields, fam family) {
	if f.has("quantization_config") {
		f.fail("quantization_config", "quantised checkpoints are not supported; use the unquantised model or a GGUF file")
	}
	for _, key := range expertKeys {
		if fam.mixture == nil && f.int(key, 0) > 1 {
			f.fail(key, "is %s; a %s model with a mixture of experts is not supported", f.show(key), fam.name)
		}
	}
	for _, key := range []string{"attention_dropout", "resid_pdrop", "embd_pdrop"} {
		if f.float(key, 0) != 0 {
			f.fail(key, "is %s; dropout inside the model is not supported, set it to 0.0 (LoRA has its own dropout)", f.show(key))
		}
	}
	if f.bool("use_mrope", false) {
		f.fail("use_mrope", "multimodal rotary embedding is not supported")
	}
	if f.has("per_layer_config") {
		f.fail("per_layer_config", "layers of different sizes are not supported")
	}
}

func configDType(f fields) dtypes.DType {
	key := "dtype"
	if !f.has(key) {
		key = "torch_dtype"
	}
	switch name := strings.TrimPrefix(f.string(key, ""), "torch."); name {
	case "":
		return dtypes.InvalidDType
	case "float32", "float":
		return dtypes.Float32
	case "bfloat16":
		return dtypes.BFloat16
	case "float16", "half":
		return dtypes.Float16
	case "float64", "double":
		return dtypes.Float64
	default:
		f.fail(key, "is %q; supported: float32, bfloat16, float16", name)
		return dtypes.InvalidDType
	}
}

// tokenIDs reads bos, eos and pad. An id outside the vocabulary can neither be fed nor produced, so it
// counts as none; a padding id there is a fault, because transformers refuses the model too.
func tokenIDs(f fields, fam family, d *Decoder) {
	inside := func(id int) bool { return id >= 0 && id < d.Vocab }
	one := func(key string, def int) int {
		if f.present(key) && !f.has(key) {
			return -1
		}
		return f.int(key, def)
	}
	d.BOS, d.Pad = one("bos_token_id", fam.bos), one("pad_token_id", fam.pad)
	if !inside(d.BOS) {
		d.BOS = -1
	}
	if d.Pad >= d.Vocab && f.has("pad_token_id") {
		f.fail("pad_token_id", "is %d, outside the vocabulary of %d", d.Pad, d.Vocab)
	}
	if !inside(d.Pad) {
		d.Pad = -1
	}
	for _, id := range f.ints("eos_token_id", fam.eos) {
		if inside(id) && !slices.Contains(d.EOS, id) {
			d.EOS = append(d.EOS, id)
		}
	}
}
