package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/google/go-cmp/cmp"

	"gorun/model/safetensors"
	"gorun/model/spec"
)

// wanted is what transformers has in memory for one file of testdata (tools/oracle/spec.py).
type wanted struct {
	Visible []int           `json:"visible"` // keys that the last of Queries queries sees, per layer
	Queries int             `json:"queries"`
	DType   string          `json:"dtype"`
	Config  json.RawMessage `json:"config"` // of the model that a GGUF file was made of
	Tensors map[string]struct {
		Shape []int  `json:"shape"`
		F32   string `json:"f32"`
		BF16  string `json:"bf16"`
	} `json:"tensors"`
}

func goldens(t *testing.T) map[string]wanted {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "want.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]wanted
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func open(t *testing.T, path string) *Model {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// all reads a whole tensor in two pieces of unequal size.
func all(t *testing.T, m *Model, name string, as dtypes.DType) []byte {
	t.Helper()
	_, shape, ok := m.Info(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	row := as.Size()
	for _, n := range shape[1:] {
		row *= n
	}
	data := make([]byte, shape[0]*row)
	cut := shape[0] / 3
	if err := m.ReadRows(name, 0, cut, as, data[:cut*row]); err != nil {
		t.Fatal(err)
	}
	if err := m.ReadRows(name, cut, shape[0], as, data[cut*row:]); err != nil {
		t.Fatal(err)
	}
	return data
}

func short(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:16]
}

// TestTensorsAgreeWithTransformers reads every tensor of every tiny checkpoint, bit by bit: float32,
// bfloat16 and float16 files, sharded ones, GGUF with its reordered rows.
func TestTensorsAgreeWithTransformers(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			m := open(t, filepath.Join("testdata", name))
			if len(m.Names()) != len(want.Tensors) {
				t.Errorf("%d tensors, want %d", len(m.Names()), len(want.Tensors))
			}
			for tensor, w := range want.Tensors {
				dtype, shape, ok := m.Info(tensor)
				if !ok || !slices.Equal(shape, w.Shape) {
					t.Errorf("%s: shape %v, want %v", tensor, shape, w.Shape)
					continue
				}
				if want.DType != "" && !strings.EqualFold(dtype.String(), want.DType) {
					t.Errorf("%s: stored as %s, want %s", tensor, dtype, want.DType)
				}
				if got := short(all(t, m, tensor, dtypes.Float32)); got != w.F32 {
					t.Errorf("%s: float32 values differ", tensor)
				}
				if got := short(all(t, m, tensor, dtypes.BFloat16)); got != w.BF16 {
					t.Errorf("%s: bfloat16 values differ", tensor)
				}
			}
		})
	}
}

// TestWindowsAgreeWithTransformers compares Window with the attention weights that a real forward gave.
func TestWindowsAgreeWithTransformers(t *testing.T) {
	for name, want := range goldens(t) {
		if want.Visible == nil {
			continue
		}
		d := open(t, filepath.Join("testdata", name)).Decoder
		got := make([]int, d.Layers)
		for layer := range got {
			got[layer] = want.Queries
			if d.Window != nil && d.Window[layer] > 0 {
				got[layer] = min(d.Window[layer], want.Queries)
			}
		}
		if !slices.Equal(got, want.Visible) {
			t.Errorf("%s: a query sees %v keys per layer, in transformers %v", name, got, want.Visible)
		}
	}
}

// TestGGUFDecoderIsTheOriginals: what GGUF says is what the model's own config.json says.
func TestGGUFDecoderIsTheOriginals(t *testing.T) {
	for name, want := range goldens(t) {
		if want.Config == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			original, err := spec.Parse(want.Config)
			if err != nil {
				t.Fatal(err)
			}
			got := *open(t, filepath.Join("testdata", name)).Decoder
			if name == "smollm3.gguf" { // llama.cpp fixes the interval at 4, the tiny model has 4 layers
				original.NoRope = []bool{false, false, false, true}
			}
			original.DType, got.DType = 0, 0
			original.Pad = -1 // the writer gave none
			for _, seq := range []int{1, 33, 100} {
				wantInv, wantScale := original.Rope.InvFreq(seq)
				inv, scale := got.Rope.InvFreq(seq)
				if !slices.Equal(inv, wantInv) || scale != wantScale {
					t.Errorf("seq %d: frequencies %v, want %v", seq, inv, wantInv)
				}
			}
			original.Rope, got.Rope = spec.Rope{}, spec.Rope{}
			if diff := cmp.Diff(original, &got); diff != "" {
				t.Errorf("(-config +gguf):\n%s", diff)
			}
		})
	}
}

func TestLlama3RopeIsRecovered(t *testing.T) {
	m := open(t, filepath.Join("testdata", "llama.gguf"))
	if r := m.Decoder.Rope; r.Kind != "llama3" || r.Factor != 32 || r.OriginalMaxPositions != 8192 {
		t.Errorf("%+v", r)
	}
	if m.Meta["general.architecture"] != "llama" || m.TokenizerPath != "" {
		t.Errorf("meta %v, tokenizer %q", m.Meta["general.architecture"], m.TokenizerPath)
	}
}

func TestReadRowsInParallel(t *testing.T) {
	for _, name := range []string{"llama.gguf", "qwen2"} {
		m := open(t, filepath.Join("testdata", name))
		tensor := "model.layers.1.self_attn.q_proj.weight"
		whole := all(t, m, tensor, dtypes.BFloat16)
		_, shape, _ := m.Info(tensor)
		row := shape[1] * 2
		got := make([]byte, len(whole))
		var group sync.WaitGroup
		for i := range shape[0] {
			group.Go(func() {
				if err := m.ReadRows(tensor, i, i+1, dtypes.BFloat16, got[i*row:(i+1)*row]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if !slices.Equal(got, whole) {
			t.Errorf("%s: rows read in parallel differ", name)
		}
	}
}

func TestReadRowsRefuses(t *testing.T) {
	for _, name := range []string{"llama.gguf", "llama"} {
		m := open(t, filepath.Join("testdata", name))
		for _, c := range []struct {
			tensor string
			lo, hi int
			as     dtypes.DType
			size   int
			want   string
		}{
			{"nope", 0, 1, dtypes.Float32, 64, "no such tensor"},
			{spec.EmbedTensor, 0, 1, dtypes.Float16, 32, "only Float32 and BFloat16"},
			{spec.EmbedTensor, 0, 49, dtypes.Float32, 64, "rows 0 to 49, it has 48"},
			{spec.EmbedTensor, 2, 1, dtypes.Float32, 0, "rows 2 to 1"},
			{spec.EmbedTensor, -1, 1, dtypes.Float32, 64, "rows -1 to 1"},
			{spec.EmbedTensor, 0, 1, dtypes.Float32, 63, "buffer of 63 bytes"},
		} {
			err := m.ReadRows(c.tensor, c.lo, c.hi, c.as, make([]byte, c.size))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: error %v does not say %q", name, err, c.want)
			}
		}
		if err := m.ReadRows(spec.EmbedTensor, 5, 5, dtypes.Float32, nil); err != nil {
			t.Errorf("%s: no rows: %v", name, err)
		}
	}
}

// copyModel copies a tiny checkpoint and lets edit change its config and tensors.
func copyModel(t *testing.T, name string, edit func(config map[string]any, tensors map[string]safetensors.Tensor)) string {
	t.Helper()
	from := filepath.Join("testdata", name)
	raw, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	m := open(t, from)
	tensors := make(map[string]safetensors.Tensor)
	for _, tensor := range m.Names() {
		dtype, shape, _ := m.Info(tensor)
		if dtype != dtypes.Float32 && dtype != dtypes.BFloat16 {
			t.Fatalf("%s is stored as %s", name, dtype)
		}
		tensors[tensor] = safetensors.Tensor{Name: tensor, DType: dtype, Shape: shape, Data: all(t, m, tensor, dtype)}
	}
	edit(config, tensors)
	dir := t.TempDir()
	if raw, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	var list []safetensors.Tensor
	for _, tensor := range tensors {
		list = append(list, tensor)
	}
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), list, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpenReportsEveryFaultAtOnce(t *testing.T) {
	dir := copyModel(t, "llama", func(_ map[string]any, tensors map[string]safetensors.Tensor) {
		delete(tensors, "model.norm.weight")
		delete(tensors, "lm_head.weight")
		up := tensors["model.layers.0.mlp.up_proj.weight"]
		up.Shape = []int{16, 24}
		tensors[up.Name] = up
		embed := tensors[spec.EmbedTensor]
		embed.DType, embed.Shape, embed.Data = dtypes.Int64, []int{48, 16}, make([]byte, 48*16*8)
		tensors[embed.Name] = embed
		tensors["model.layers.0.self_attn.q_norm.weight"] = safetensors.Tensor{Name: "model.layers.0.self_attn.q_norm.weight", DType: dtypes.Float32, Shape: []int{4}, Data: make([]byte, 16)}
	})
	_, err := Open(dir)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		dir, "2 tensors missing:\n  model.norm.weight\n  lm_head.weight",
		"model.layers.0.mlp.up_proj.weight is [16 24], must be [24 16]",
		"model.embed_tokens.weight is stored as Int64",
		"1 tensors not part of a llama model as the config describes it:\n  model.layers.0.self_attn.q_norm.weight",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
}

func TestOpenIgnoresHarmlessExtras(t *testing.T) {
	dir := copyModel(t, "llama-tied", func(_ map[string]any, tensors map[string]safetensors.Tensor) {
		for _, name := range []string{"lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq", "v_head.summary.weight"} {
			tensors[name] = safetensors.Tensor{Name: name, DType: dtypes.Float32, Shape: []int{2}, Data: make([]byte, 8)}
		}
	})
	if m := open(t, dir); slices.Contains(m.Names(), "lm_head.weight") {
		t.Error("a tied head is listed")
	}
}

func TestDigest(t *testing.T) {
	same := func(map[string]any, map[string]safetensors.Tensor) {}
	base := open(t, filepath.Join("testdata", "llama")).Digest()
	if len(base) != 64 {
		t.Fatalf("digest %q", base)
	}
	for _, c := range []struct {
		name  string
		equal bool
		edit  func(config map[string]any, tensors map[string]safetensors.Tensor)
	}{
		{"a copy", true, same},
		{"a comment in the config", true, func(config map[string]any, _ map[string]safetensors.Tensor) { config["_name_or_path"] = "elsewhere" }},
		{"rope", false, func(config map[string]any, _ map[string]safetensors.Tensor) {
			config["rope_parameters"].(map[string]any)["rope_theta"] = 1e4
		}},
		{"epsilon", false, func(config map[string]any, _ map[string]safetensors.Tensor) { config["rms_norm_eps"] = 1e-3 }},
		{"a value", false, func(_ map[string]any, tensors map[string]safetensors.Tensor) {
			tensors["model.layers.1.mlp.down_proj.weight"].Data[0] ^= 1
		}},
		{"a bias", false, func(_ map[string]any, tensors map[string]safetensors.Tensor) {
			data := tensors["model.layers.1.self_attn.k_proj.bias"].Data
			data[len(data)-4] ^= 1
		}},
	} {
		if got := open(t, copyModel(t, "llama", c.edit)).Digest(); (got == base) != c.equal {
			t.Errorf("%s: equal digest is %t, want %t", c.name, got == base, c.equal)
		}
	}
}

func TestOpenExplains(t *testing.T) {
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	config := `{"model_type": "llama", "num_hidden_layers": 1}`
	for _, c := range []struct{ name, path, want string }{
		{"absent", filepath.Join(t.TempDir(), "none"), "no such folder or file"},
		{"one safetensors file", filepath.Join("testdata", "llama", "model.safetensors"), "give the folder"},
		{"some file", filepath.Join("testdata", "want.json"), "neither a folder nor a .gguf file"},
		{"empty folder", folder(nil), "has no config.json"},
		{"adapter", folder(map[string]string{"adapter_config.json": "{}"}), "is an adapter, not a base model"},
		{"gguf inside", folder(map[string]string{"a.gguf": ""}), "give one of them"},
		{"pytorch only", folder(map[string]string{"config.json": config, "pytorch_model-00001-of-00002.bin": ""}), "save_pretrained"},
		{"no weights", folder(map[string]string{"config.json": config}), "is the download complete?"},
		{"bad config", folder(map[string]string{"config.json": `{"model_type": "gpt2"}`}), `unknown model_type "gpt2"`},
		{"bad generation config", folder(map[string]string{"config.json": config, "generation_config.json": "["}), "generation_config.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
}

func TestTokenizerAndGenerationConfig(t *testing.T) {
	dir := copyModel(t, "llama", func(map[string]any, map[string]safetensors.Tensor) {})
	for name, text := range map[string]string{"tokenizer.json": "{}", "generation_config.json": `{"eos_token_id": [2, 7]}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, dir)
	if m.TokenizerPath != dir || !slices.Equal(m.Decoder.EOS, []int{2, 7}) {
		t.Errorf("tokenizer %q, eos %v", m.TokenizerPath, m.Decoder.EOS)
	}
}
