package card

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/configs"
	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/rank/ckpt"
	"gorun/tools/golden"
)

const recipe = `
[model]
pretrained_model_name_or_path = "meta-llama/Llama-3.2-1B"
[dataset]
path_or_id = "rajpurkar/squad"
[optimizer]
lr = 2e-5
`

const validationLog = `{"step":0,"epoch":0,"set":"validation","val_loss":3.5,"num_label_tokens":700,"time_s":1}
{"step":60,"epoch":0,"set":"validation","val_loss":1.25,"num_label_tokens":700,"time_s":1}
{"step":60,"epoch":0,"set":"a|b","val_loss":null,"num_label_tokens":9,"time_s":1}
{"step":120,"epoch":0,"set":"validation","val_loss":1.5,"num_label_tokens":700,"time_s":1}
{"step":180,"epoch":0,"set":"validation","val_loss":0.5,"num_label_tokens":700,"time_s":1}
`

const trainingLog = `{"step":1,"epoch":0,"loss":null}
{"step":2,"epoch":0,"loss":4.25}
{"step":120,"epoch":0,"loss":1.375}
`

// checkpoint saves a checkpoint of two adapted linears, of all weights if adapter is nil, with optimizer state and logs.
func checkpoint(t *testing.T, recipe string, adapter *export.Adapter, files map[string][]byte) string {
	t.Helper()
	tensor := func(name string, shape ...int) safetensors.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		var data []byte
		for range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(0.5))
		}
		return safetensors.Tensor{Name: name, DType: dtypes.Float32, Shape: shape, Data: data}
	}
	s := &ckpt.State{
		Step: 120, Samples: 960, EpochSamples: 960, Tokens: 4321, Seed: 1111, BaseDigest: "b", ConfigHash: "c", Version: "test",
		Loss: 1.375, Recipe: recipe, Adapter: adapter,
	}
	if adapter == nil {
		s.Params = []safetensors.Tensor{tensor("model.norm.weight", 4)}
	} else {
		for _, name := range []string{"model.layers.0.self_attn.v_proj", "model.layers.0.self_attn.q_proj"} {
			adapter.Modules = append(adapter.Modules, export.Module{Name: name, In: 3, Out: 5})
			s.Params = append(s.Params, tensor(export.AName(name), adapter.Dim, 3), tensor(export.BName(name), 5, adapter.Dim))
		}
	}
	s.Moment1, s.Moment2 = s.Params, s.Params
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "validation.jsonl"), []byte(validationLog), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "training.jsonl"), []byte(trainingLog), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := ckpt.Save(t.Context(), dir, s, ckpt.SaveOptions{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func llama() *export.Adapter {
	return &export.Adapter{Base: "meta-llama/Llama-3.2-1B", Dim: 12, Alpha: 32, Dropout: 0.05}
}

func uploads(t *testing.T, r *Run) (names []string) {
	t.Helper()
	files, err := r.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Path)
	}
	return names
}

// sameCard compares a card with testdata.
func sameCard(t *testing.T, name string, r *Run, f Facts) {
	t.Helper()
	f.Endpoint, f.Version = "https://huggingface.co", "v1.2.3"
	got, err := r.Card(f)
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, filepath.Join("testdata", name), string(got))
}

func TestAdapter(t *testing.T) {
	path := checkpoint(t, recipe, llama(), nil)
	for _, at := range []string{path, filepath.Join(filepath.Dir(path), "LATEST")} {
		r, err := Open(at)
		if err != nil {
			t.Fatal(err)
		}
		if got := uploads(t, r); !slices.Equal(got, []string{"adapter_config.json", "adapter_model.safetensors", "recipe.toml"}) {
			t.Errorf("publishes %q", got)
		}
		if base, ok := r.BaseOnHub(); !ok || base.ID != "meta-llama/Llama-3.2-1B" {
			t.Errorf("base %v", base)
		}
		sameCard(t, "adapter.md", r, Facts{Repo: "acme/squad-llama", License: License{ID: "llama3.2"}})
	}
}

// TestNothingOfThisMachine: names of folders do not become public by the card.
func TestNothingOfThisMachine(t *testing.T) {
	local := strings.NewReplacer("meta-llama/Llama-3.2-1B", "/home/jane/models/llama", "rajpurkar/squad", "/home/jane/se`cret|.jsonl").Replace(recipe)
	r, err := Open(checkpoint(t, local, llama(), nil))
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Card(Facts{Repo: "acme/x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"jane", "se`cret", "base_model", "datasets:"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the card has %q:\n%s", bad, text)
		}
	}
	if _, ok := r.BaseOnHub(); ok {
		t.Error("a folder is taken for an id of the Hub")
	}
}

func TestModel(t *testing.T) {
	path := checkpoint(t, recipe, nil, map[string][]byte{"config.json": []byte("{}"), "tokenizer.json": []byte("{}"), "LICENSE": []byte("x"), "notes.txt": []byte("x")})
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := uploads(t, r); !slices.Equal(got, []string{"LICENSE", "config.json", "model.safetensors", "recipe.toml", "tokenizer.json"}) {
		t.Errorf("publishes %q", got)
	}
	sameCard(t, "model.md", r, Facts{Repo: "acme/squad-full", License: License{ID: "other", Name: "a: b", Link: "https://x"}})
}

// TestMerged: a model that was exported names the base that it was made of.
func TestMerged(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"config.json": "{}", "model.safetensors": "x", "export.json": `{"base": "meta-llama/Llama-3.2-1B"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := uploads(t, r); !slices.Equal(got, []string{"config.json", "model.safetensors"}) {
		t.Errorf("publishes %q", got)
	}
	text, err := r.Card(Facts{Repo: "acme/merged"})
	if err != nil || !strings.Contains(string(text), "base_model: meta-llama/Llama-3.2-1B\nbase_model_relation: finetune\n") {
		t.Errorf("the card is %v\n%s", err, text)
	}
}

func TestOpenRefuses(t *testing.T) {
	whole := checkpoint(t, recipe, llama(), nil)
	damaged := checkpoint(t, recipe, llama(), nil)
	if err := os.WriteFile(filepath.Join(damaged, "adapter_model.safetensors"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	torn := checkpoint(t, recipe, llama(), nil)
	if err := os.WriteFile(filepath.Join(filepath.Dir(torn), "validation.jsonl"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	noWeights := t.TempDir()
	if err := os.WriteFile(filepath.Join(noWeights, "config.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, says string }{
		"nothing":               {filepath.Join(t.TempDir(), "x"), "no such file"},
		"an empty folder":       {t.TempDir(), "neither an adapter"},
		"folder of checkpoints": {filepath.Dir(whole), "give one of them, such as"},
		"weights alone":         {checkpoint(t, recipe, nil, nil), "gorun export --format hf"},
		"damaged":               {damaged, "not a whole checkpoint"},
		"no weights":            {noWeights, "no weights in safetensors"},
		"a torn log":            {torn, "validation.jsonl:1"},
	} {
		if _, err := Open(tt.path); err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "publish") {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}

func TestLicenseOf(t *testing.T) {
	for text, want := range map[string]License{
		"---\nlicense: mit\n---\n# x": {ID: "mit"},
		"---\r\nlicense: other\r\nlicense_name: x\r\nlicense_link: LICENSE\r\n---\r\n": {"other", "x", "LICENSE"},
		"---\nlicense: [mit, x]\n---\n": {},
		"---\nlicense: mit\n":           {},
		"# license: mit":                {},
		"":                              {},
	} {
		if got := LicenseOf([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestVLLMRank(t *testing.T) {
	for rank, want := range map[int]int{1: 1, 2: 8, 8: 8, 12: 16, 300: 320, 512: 512, 600: 600} {
		if got := vllmRank(rank); got != want {
			t.Errorf("%d: %d, want %d", rank, got, want)
		}
	}
}

// TestLoRAInWords: the card says what else an adapter was trained by; PEFT's config has no word for some of it.
func TestLoRAInWords(t *testing.T) {
	module := export.Module{Name: "model.layers.0.self_attn.q_proj", Magnitude: []float32{1}}
	for _, c := range []struct {
		adapter export.Adapter
		set     func(*configs.Recipe)
		want    string
	}{
		{export.Adapter{Dim: 4, Alpha: 8}, func(*configs.Recipe) {}, "dim 4, alpha 8, dropout 0, on  (0 modules)"},
		{export.Adapter{Dim: 4, Alpha: 8, Dropout: 0.1}, func(r *configs.Recipe) { r.PEFT.DropoutPosition = "post" },
			"dim 4, alpha 8, dropout 0.1 of the output of B, on  (0 modules)"},
		{export.Adapter{Dim: 4, Alpha: 8, RSLoRA: true, Modules: []export.Module{module}}, func(r *configs.Recipe) { r.Optimizer.LoraPlusLRRatio = 16 },
			"dim 4, alpha 8, scaled by alpha over the root of dim, DoRA, learning rate of B 16 times that of A, dropout 0, on q_proj (1 modules)"},
	} {
		r := configs.Default()
		c.set(r)
		if got := lora(&c.adapter, r); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}
