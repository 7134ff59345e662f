package spec

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smolMeta is the metadata of a SmolLM2-135M GGUF file.
func smolMeta() map[string]any {
	return map[string]any{
		"general.architecture": "llama", "llama.block_count": uint32(30), "llama.context_length": uint32(8192),
		"llama.embedding_length": uint32(576), "llama.feed_forward_length": uint32(1536),
		"llama.attention.head_count": uint32(9), "llama.attention.head_count_kv": uint32(3),
		"llama.rope.freq_base": float32(100000), "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
		"llama.vocab_size": uint32(49152), "llama.rope.dimension_count": uint32(64),
		"tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.eos_token_id": uint32(2), "tokenizer.ggml.padding_token_id": uint32(2),
	}
}

func with(changes map[string]any) map[string]any {
	m := smolMeta()
	maps.Copy(m, changes)
	return m
}

// tensorsOf is the presence function of a file that holds the given tensors and a plain block.
func tensorsOf(names ...string) func(string) bool {
	names = append(names, "blk.0.attn_q.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "token_embd.weight")
	return func(name string) bool { return slices.Contains(names, name) }
}

func TestFromGGUFAgreesWithConfig(t *testing.T) {
	want := parsed(t, "smollm2-135m")
	got, err := FromGGUF(smolMeta(), tensorsOf())
	if err != nil {
		t.Fatal(err)
	}
	// The instruct file's own token ids, and GGUF says no dtype of the original.
	want.BOS, want.EOS, want.Pad, want.DType = 1, []int{2}, 2, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-config +gguf):\n%s", diff)
	}
}

func TestFromGGUFReadsPresence(t *testing.T) {
	m := with(map[string]any{"general.architecture": "qwen3", "tokenizer.ggml.tokens": make([]string, 77), "tokenizer.ggml.eot_token_id": uint32(5)})
	for k, v := range smolMeta() {
		if rest, ok := strings.CutPrefix(k, "llama."); ok && rest != "vocab_size" {
			m["qwen3."+rest] = v
		}
	}
	m["qwen3.attention.key_length"], m["qwen3.attention.value_length"] = uint32(128), uint32(128)
	m["qwen3.rope.dimension_count"] = uint32(128)
	m["qwen3.attention.head_count_kv"] = []any{uint32(3), uint32(3)}
	d, err := FromGGUF(m, tensorsOf("output.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_q.bias", "blk.0.attn_output.bias", "blk.0.ffn_down.bias"))
	if err != nil {
		t.Fatal(err)
	}
	if d.TiedHead || !d.QKNorm || !d.QKVBias || !d.OBias || !d.MLPBias || d.FusedQKV || d.FusedMLP || d.HeadDim != 128 || d.KVHeads != 3 || d.Vocab != 77 {
		t.Errorf("%+v", d)
	}
	if !slices.Equal(d.EOS, []int{2, 5}) {
		t.Errorf("eos %v", d.EOS)
	}
}

func TestFromGGUFSmolLM3(t *testing.T) {
	m := map[string]any{"general.architecture": "smollm3"}
	for k, v := range smolMeta() {
		m[strings.Replace(k, "llama.", "smollm3.", 1)] = v
	}
	m["general.architecture"] = "smollm3"
	d, err := FromGGUF(m, tensorsOf())
	if err != nil {
		t.Fatal(err)
	}
	if !d.NoRope[3] || d.NoRope[4] || d.Window != nil {
		t.Errorf("no rope %v", d.NoRope)
	}
}

func TestFromGGUFRope(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes map[string]any
		want    Rope
	}{
		{"linear", map[string]any{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float32(4)}, Rope{Theta: 100000, Dim: 64, Kind: "linear", Factor: 4}},
		{"older linear", map[string]any{"llama.rope.scale_linear": float32(2)}, Rope{Theta: 100000, Dim: 64, Kind: "linear", Factor: 2}},
		{"linear by one", map[string]any{"llama.rope.scaling.type": "linear"}, Rope{Theta: 100000, Dim: 64, Kind: "default"}},
		{"yarn", map[string]any{"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": float32(4), "llama.rope.scaling.original_context_length": uint32(2048)},
			Rope{Theta: 100000, Dim: 64, Kind: "yarn", Factor: 4, OriginalMaxPositions: 2048, BetaFast: 32, BetaSlow: 1}},
	} {
		d, err := FromGGUF(with(c.changes), tensorsOf())
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, d.Rope); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestMistralAsLlama(t *testing.T) {
	d, err := FromGGUF(with(map[string]any{"llama.attention.sliding_window": uint32(4096)}), tensorsOf())
	if err != nil {
		t.Fatal(err)
	}
	if d.Family != "mistral" || len(d.Window) != 30 || d.Window[29] != 4096 {
		t.Errorf("%s, window %v", d.Family, d.Window)
	}
}

func TestSetRopeFactorsRecoversLlama3(t *testing.T) {
	want := parsed(t, "llama-3.2-1b-instruct").Rope
	plain := want
	plain.Kind = "default"
	base, _ := plain.InvFreq(0)
	scaled, _ := want.InvFreq(0)
	divisors := make([]float32, len(base))
	for i := range base {
		divisors[i] = base[i] / scaled[i]
	}
	d := &Decoder{HeadDim: 64, Rope: Rope{Theta: want.Theta, Dim: want.Dim, Kind: "factors"}}
	if err := d.SetRopeFactors(divisors, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, d.Rope); diff != "" {
		t.Errorf("not recovered:\n%s", diff)
	}

	divisors[3] = 1.7 // no rule gives this
	d.Rope = Rope{Theta: want.Theta, Dim: want.Dim, Kind: "factors"}
	if err := d.SetRopeFactors(divisors, nil); err != nil {
		t.Fatal(err)
	}
	if inv, scale := d.Rope.InvFreq(9); d.Rope.Kind != "factors" || inv[3] != base[3]/1.7 || scale != 1 {
		t.Errorf("kind %s, frequency %v, scale %v", d.Rope.Kind, inv[3], scale)
	}
	if err := d.SetRopeFactors(divisors[1:], nil); err == nil || !strings.Contains(err.Error(), "has 31 values") {
		t.Errorf("short list: %v", err)
	}
}

func TestFromGGUFRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes map[string]any
		tensors []string
		want    []string
	}{
		{"unknown", map[string]any{"general.architecture": "gemma"}, nil, []string{`unknown general.architecture "gemma"; known: llama, phi3, qwen2, qwen3, smollm3`}},
		{"everything at once", map[string]any{"llama.block_count": nil, "llama.embedding_length": "x", "llama.attention.head_count": []int32{9, 8}, "llama.expert_count": uint32(8)}, nil,
			[]string{"llama.block_count: is missing", "llama.embedding_length: is a string", "differs between layers (9, 8)", "mixtures"}},
		{"value length", map[string]any{"llama.attention.value_length": uint32(32)}, nil, []string{"is 32, key_length is 64"}},
		{"partial", map[string]any{"llama.rope.dimension_count": uint32(32)}, nil, []string{"partial rotary"}},
		{"scaling", map[string]any{"llama.rope.scaling.type": "foo"}, nil, []string{`is "foo"; supported`}},
		{"longrope without factors", map[string]any{"llama.rope.scaling.type": "longrope"}, nil, []string{"rope_factors_long.weight"}},
		{"experts by tensor", nil, []string{"blk.0.ffn_gate_inp.weight"}, []string{"mixtures"}},
		{"negative window", map[string]any{"llama.attention.sliding_window": int32(-4)}, nil, []string{"must not be negative"}},
		{"eps", map[string]any{"llama.attention.layer_norm_rms_epsilon": "1"}, nil, []string{"must be a number"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := FromGGUF(with(c.changes), tensorsOf(c.tensors...))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// FuzzFromGGUF sets one key after another to a value of some type; no metadata panics, and what is
// accepted has usable frequencies once its factors are set.
func FuzzFromGGUF(f *testing.F) {
	keys := slices.Sorted(maps.Keys(smolMeta()))
	keys = append(keys, "llama.attention.key_length", "llama.attention.value_length", "llama.attention.sliding_window",
		"llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.rope.scaling.original_context_length", "tokenizer.ggml.tokens")
	f.Add([]byte{1, 0, 7, 2, 1, 9}, uint8(0))
	f.Add([]byte{12, 6, 0, 4, 3, 200}, uint8(255))
	f.Fuzz(func(t *testing.T, edits []byte, present uint8) {
		m := smolMeta()
		for ; len(edits) >= 3; edits = edits[3:] {
			x := int64(edits[2]) << (edits[1] / 8 % 60)
			m[keys[int(edits[0])%len(keys)]] = []any{
				uint32(x), -x, uint64(x) << 1, float32(x), float64(-x), []any{x, x}, []string{"a"}, []string{"none", "linear", "yarn", "llama", "phi3"}[x%5],
			}[edits[1]%8]
		}
		tensors := []string{"output.weight", GGUFRopeFreqs, GGUFFactorsLong, GGUFFactorsShort, "blk.0.attn_qkv.weight", "blk.0.ffn_gate.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight"}
		d, err := FromGGUF(m, func(name string) bool {
			i := slices.Index(tensors, name)
			return i >= 0 && present>>i&1 == 1
		})
		if err != nil {
			return
		}
		if d.Rope.Kind == "factors" || d.Rope.Kind == "longrope" {
			ones := slices.Repeat([]float32{1}, d.Rope.Dim/2)
			if err := d.SetRopeFactors(ones, ones); err != nil {
				t.Fatal(err)
			}
		}
		if inv, scale := d.Rope.InvFreq(d.MaxPositions + 1); len(inv) != d.Rope.Dim/2 || !(scale > 0) {
			t.Errorf("%+v: scale %v", d.Rope, scale)
		}
		if d.Params().Total <= 0 {
			t.Errorf("%+v: no parameters", d)
		}
	})
}
