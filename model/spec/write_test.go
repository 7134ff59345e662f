package spec

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/google/go-cmp/cmp"
)

// withoutGGUF tells whether a model's family has no GGUF files: nothing is converted to or from it.
func withoutGGUF(d *Decoder) bool {
	fam, ok := findFamily(d.Family)
	return ok && fam.noGGUF
}

// TestConfigJSON: every published config comes back from the config.json that is written for it, or is refused by its
// family.
func TestConfigJSON(t *testing.T) {
	for name := range goldens(t) {
		d := parsed(t, name)
		if withoutGGUF(d) {
			if _, err := d.ConfigJSON(dtypes.BFloat16); err == nil || !strings.Contains(err.Error(), "never made") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		text, err := d.ConfigJSON(dtypes.BFloat16) // parses what it wrote and compares
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(string(text), `"torch_dtype": "bfloat16"`) {
			t.Errorf("%s: no dtype in\n%s", name, text)
		}
	}
}

// TestConfigJSONRefuses: what config.json has no words for is not written as something else.
func TestConfigJSONRefuses(t *testing.T) {
	for what, change := range map[string]func(*Decoder){
		"family":       func(d *Decoder) { d.Family = "gpt9" },
		"rope factors": func(d *Decoder) { d.Rope.Kind, d.Rope.ShortFactor = "factors", make([]float64, d.Rope.Dim/2) },
		"half a bias":  func(d *Decoder) { d.QKVBias = true },
	} {
		d := parsed(t, "smollm2-135m")
		change(d)
		if text, err := d.ConfigJSON(dtypes.Float32); err == nil {
			t.Errorf("%s: written as\n%s", what, text)
		}
	}
}

// ggufPresence is the presence function of a file with the decoder's tensors.
func ggufPresence(d *Decoder, factors map[string][]float32) func(string) bool {
	there := map[string]bool{
		"output.weight": !d.TiedHead, "blk.0.attn_qkv.weight": d.FusedQKV, "blk.0.ffn_gate.weight": !d.FusedMLP, "blk.0.attn_q_norm.weight": d.QKNorm,
		"blk.0.attn_q.bias": d.QKVBias && !d.FusedQKV, "blk.0.attn_qkv.bias": d.QKVBias && d.FusedQKV,
		"blk.0.attn_output.bias": d.OBias, "blk.0.ffn_down.bias": d.MLPBias,
	}
	for name := range factors {
		there[name] = true
	}
	return func(name string) bool { return there[name] }
}

// TestToGGUF: a decoder comes back from the metadata and factors that are written for it, or is refused with the reason.
func TestToGGUF(t *testing.T) {
	refused := map[string]string{}
	for name := range goldens(t) {
		d := parsed(t, name)
		fields, factors, err := d.ToGGUF()
		switch {
		case withoutGGUF(d) && err != nil && strings.Contains(err.Error(), "use the Hugging Face format"):
			continue
		case err != nil || withoutGGUF(d):
			refused[name] = fmt.Sprint(err)
			continue
		}
		meta := map[string]any{}
		for _, f := range fields {
			meta[f.Key] = f.Value
		}
		tokens := map[string]int{"bos_token_id": d.BOS, "padding_token_id": d.Pad}
		for i, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
			if i < len(d.EOS) {
				tokens[key] = d.EOS[i]
			}
		}
		for key, id := range tokens {
			if id >= 0 {
				maps.Copy(meta, map[string]any{"tokenizer.ggml." + key: uint32(id)})
			}
		}
		back, err := FromGGUF(meta, ggufPresence(d, factors))
		if err == nil && factors != nil {
			short, long := factors[GGUFRopeFreqs], factors[GGUFFactorsLong]
			if short == nil {
				short = factors[GGUFFactorsShort]
			}
			err = back.SetRopeFactors(short, long)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := *d
		want.DType = 0 // GGUF has none
		if d.Family == "mistral" && d.Window == nil {
			want.Family = "llama" // the same computation
		}
		sameFrequencies(t, name, back.Rope, d.Rope, d.MaxPositions)
		want.Rope, back.Rope = Rope{}, Rope{} // one rule of scaling may come back as the factors that it gives
		if diff := cmp.Diff(&want, back); diff != "" {
			t.Errorf("%s (-config +gguf):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"llama-dynamic":        `gguf: llama.cpp has no rotary scaling of kind "dynamic"`,
		"mistral-yarn-mscale":  "gguf: llama.cpp has no yarn with truncate = false or an attention_factor of its own",
		"qwen3-yarn-attention": "gguf: llama.cpp has no yarn with truncate = false or an attention_factor of its own",
		"qwen2.5-0.5b-yarn":    "gguf: llama.cpp has no sliding windows on some layers of a qwen2 model",
	}, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}

// sameFrequencies compares what two rotary embeddings give for a short and for the longest sequence.
func sameFrequencies(t *testing.T, name string, got, want Rope, longest int) {
	t.Helper()
	for _, seq := range []int{1, longest} {
		a, scaleA := got.InvFreq(seq)
		b, scaleB := want.InvFreq(seq)
		if len(a) != len(b) || math.Abs(float64(scaleA-scaleB)) > 1e-6 {
			t.Errorf("%s: %d frequencies times %g, want %d times %g", name, len(a), scaleA, len(b), scaleB)
			return
		}
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 1e-6*float64(b[i]) {
				t.Errorf("%s: frequency %d of %d positions is %g, want %g", name, i, seq, a[i], b[i])
				return
			}
		}
	}
}
