package export

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/model/gguf"
	"gorun/model/spec"
)

// sameProducts compares scaling * B A of every module.
func sameProducts(t *testing.T, what string, got, want *Adapter, tolerance float64) {
	t.Helper()
	if len(got.Modules) != len(want.Modules) {
		t.Fatalf("%s: %d modules, want %d", what, len(got.Modules), len(want.Modules))
	}
	byName := map[string]*Module{}
	for i := range got.Modules {
		byName[got.Modules[i].Name] = &got.Modules[i]
	}
	for i := range want.Modules {
		w := &want.Modules[i]
		g := byName[w.Name]
		if g == nil {
			t.Fatalf("%s: no module %s", what, w.Name)
		}
		x, y := make([]float32, w.Out*w.In), make([]float32, w.Out*w.In)
		addProduct(x, got, g)
		addProduct(y, want, w)
		for j := range x {
			if math.Abs(float64(x[j]-y[j])) > tolerance {
				t.Fatalf("%s: %s[%d] adds %g, want %g", what, w.Name, j, x[j], y[j])
			}
		}
	}
}

// uneven is a rank-stabilised adapter whose modules differ in Dim and Alpha.
func uneven(t *testing.T) *Adapter {
	t.Helper()
	a := goldenAdapter(t, "llama3")
	a.RSLoRA = true
	a.Modules[1].Alpha = 3
	small := &a.Modules[2]
	b := make([]float32, 0, small.Out*2)
	for row := range small.Out {
		b = append(b, small.B[row*4:row*4+2]...)
	}
	small.Dim, small.A, small.B = 2, small.A[:2*small.In], b
	return a
}

// TestGGUFAdapter: an adapter of every family comes back with the same products, whatever its scalings.
func TestGGUFAdapter(t *testing.T) {
	adapters := map[string]*Adapter{"llama3 uneven": uneven(t)}
	for _, family := range families(t) {
		if !refusesGGUF(t, family) {
			adapters[family] = goldenAdapter(t, family)
		}
	}
	for name, a := range adapters {
		family, _, _ := strings.Cut(name, " ")
		d := base(t, family).Decoder
		for as, tolerance := range map[gguf.Type]float64{gguf.F32: 1e-6, gguf.F16: 5e-3, gguf.BF16: 3e-2} {
			path := filepath.Join(t.TempDir(), "a.gguf")
			if err := WriteGGUFAdapter(path, d, a, as); err != nil {
				t.Fatal(err)
			}
			back, err := ReadGGUFAdapter(path, d)
			if err != nil {
				t.Fatal(err)
			}
			sameProducts(t, name+" "+as.String(), back, a, tolerance)
		}
	}
}

// TestReadGGUFAdapterRefuses: what is no adapter of the base is refused with the reason.
func TestReadGGUFAdapterRefuses(t *testing.T) {
	d := base(t, "llama3").Decoder
	whole := []gguf.Pair{{Key: "general.architecture", Value: "llama"}, {Key: "general.type", Value: "adapter"}, {Key: "adapter.type", Value: "lora"}, {Key: ggufAlpha, Value: float32(8)}}
	tensor := func(name string, shape ...int) gguf.Stream {
		return gguf.Stream{TensorInfo: gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: shape}, Fill: func(int, int, []float32) error { return nil }}
	}
	a, b := tensor("blk.0.attn_q.weight.lora_a", 4, 32), tensor("blk.0.attn_q.weight.lora_b", 32, 4)
	for name, c := range map[string]struct {
		meta    []gguf.Pair
		tensors []gguf.Stream
		want    string
	}{
		"a model":       {[]gguf.Pair{{Key: "general.architecture", Value: "llama"}}, nil, "this is no LoRA adapter"},
		"another kind":  {append([]gguf.Pair{{Key: "general.architecture", Value: "qwen2"}}, whole[1:]...), nil, "it is for a qwen2 model"},
		"no alpha":      {whole[:3], []gguf.Stream{a, b}, "adapter.lora.alpha is <nil>"},
		"half":          {whole, []gguf.Stream{a}, "one matrix without the other"},
		"wrong size":    {whole, []gguf.Stream{tensor(a.Name, 4, 33), b}, "want [Dim, 32]"},
		"unknown":       {whole, []gguf.Stream{a, b, tensor("blk.9.attn_q.weight.lora_a", 4, 32)}, "blk.9.attn_q.weight.lora_a"},
		"nothing in it": {whole, nil, "no module"},
	} {
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := gguf.Write(path, c.meta, c.tensors); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadGGUFAdapter(path, d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestForVLLM: modules that differ come out with one Dim and Alpha and the same products; others stay as they are.
func TestForVLLM(t *testing.T) {
	a := uneven(t)
	served, most, err := ForVLLM(a)
	if err != nil || most != 8 {
		t.Fatalf("--max-lora-rank %d, %v", most, err)
	}
	for i := range served.Modules {
		if m := &served.Modules[i]; served.DimOf(m) != 4 || served.AlphaOf(m) != a.Alpha {
			t.Errorf("%s: Dim %d, Alpha %g", m.Name, served.DimOf(m), served.AlphaOf(m))
		}
	}
	sameProducts(t, "padded", served, a, 1e-6)
	dir := t.TempDir()
	if err := WritePEFT(dir, *served); err != nil {
		t.Fatal(err)
	}
	if config, err := os.ReadFile(filepath.Join(dir, ConfigFile)); err != nil || !strings.Contains(string(config), `"rank_pattern": {},`) || !strings.Contains(string(config), `"alpha_pattern": {},`) {
		t.Errorf("patterns left in\n%s (%v)", config, err)
	}
	plain := goldenAdapter(t, "llama3")
	if same, _, err := ForVLLM(plain); err != nil || same != plain {
		t.Errorf("a uniform adapter came out as another (%v)", err)
	}
	plain.Dim = 513
	plain.Modules = []Module{module("lm_head", 513, 2, 2)}
	if _, _, err := ForVLLM(plain); err == nil || !strings.Contains(err.Error(), "at most 512") || !strings.Contains(err.Error(), "lm_head") {
		t.Errorf("too large, on the head: %v", err)
	}
}

// FuzzReadGGUFAdapter: whatever the file, an adapter that fits or an error.
func FuzzReadGGUFAdapter(f *testing.F) {
	config, err := os.ReadFile(filepath.Join(goldens, "llama3", "config.json"))
	if err != nil {
		f.Fatal(err)
	}
	d, err := spec.Parse(config)
	if err != nil {
		f.Fatal(err)
	}
	a, err := ReadPEFT(filepath.Join(goldens, "llama3", "adapter"))
	if err != nil {
		f.Fatal(err)
	}
	a.Modules = a.Modules[:1]
	seed := filepath.Join(f.TempDir(), "seed.gguf")
	if err := WriteGGUFAdapter(seed, d, a, gguf.BF16); err != nil {
		f.Fatal(err)
	}
	content, err := os.ReadFile(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "a.gguf")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if a, err := ReadGGUFAdapter(path, d); err == nil {
			if err := a.Fits(d); err != nil {
				t.Error(err)
			}
		}
	})
}
