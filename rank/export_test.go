package rank

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorun/csrc/device/devicetest"
	"gorun/model/export"
)

func openTiny(t *testing.T) *Base {
	t.Helper()
	base, err := OpenBase(tinyBase(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	})
	return base
}

// tinyAdapter is a random adapter on every linear of a base, one module of another Dim.
func tinyAdapter(base *Base) *export.Adapter {
	rng := rand.New(rand.NewPCG(3, 4))
	a := &export.Adapter{Base: "some/base", Dim: 4, Alpha: 8}
	draw := func(n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(rng.NormFloat64() * 0.1)
		}
		return out
	}
	for layer := range base.Decoder.Layers {
		for _, l := range base.Decoder.Linears(layer) {
			dim := 4
			if strings.HasSuffix(l.Name, "o_proj") {
				dim = 3
			}
			a.Modules = append(a.Modules, export.Module{Name: l.Name, Dim: dim, In: l.In, Out: l.Out, A: draw(dim * l.In), B: draw(l.Out * dim)})
		}
	}
	return a
}

// TestExport writes every format, which verifies each, and looks at what is left.
func TestExport(t *testing.T) {
	base := openTiny(t)
	a := tinyAdapter(base)
	for name, c := range map[string]struct {
		format, dtype, stored string
		files                 []string
	}{
		"peft":         {FormatPEFT, "auto", "f32", []string{"adapter_config.json", "adapter_model.safetensors"}},
		"vllm":         {FormatVLLM, "auto", "f32", []string{"adapter_config.json", "adapter_model.safetensors"}},
		"hf":           {FormatHF, "auto", "f32", []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}},
		"hf bf16":      {FormatHF, "bf16", "bf16", []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}},
		"gguf":         {FormatGGUF, "f16", "f16", []string{"model.gguf"}},
		"gguf q8_0":    {FormatGGUF, "q8_0", "q8_0", []string{"model.gguf"}},
		"gguf adapter": {FormatGGUFAdapter, "auto", "f32", []string{"adapter.gguf"}},
	} {
		out := filepath.Join(t.TempDir(), "made", "here")
		r, err := Export(t.Context(), base, a, ExportOptions{Format: c.format, From: Named{Adapter: "some/adapter"}, DType: c.dtype, Out: out, MaxShard: 1 << 30, Name: "tiny", Version: "test", Device: testDevice(t)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		files, err := sizes(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range append(c.files, reportFile) {
			if files[f] == 0 {
				t.Errorf("%s: no %s among %v", name, f, files)
			}
		}
		if len(files) != len(c.files)+1 || len(r.Files) != len(c.files) {
			t.Errorf("%s: files %v, reported %v", name, files, r.Files)
		}
		var read Report
		if err := json.Unmarshal(file(t, out, reportFile), &read); err != nil || read.Check.Tolerance == 0 || read.DType != c.stored || read.BaseDigest != base.Digest() {
			t.Errorf("%s: %s holds %+v (%v)", name, reportFile, read, err)
		}
		if k := r.Check; k.AdapterEffect < 2*k.Tolerance || len(k.Positions) != probed || int(k.Positions[probed-1]) < 40 {
			t.Errorf("%s: a lost adapter would go unseen: %+v", name, k)
		}
		if c.format == FormatVLLM && r.MaxLoraRank != 8 {
			t.Errorf("%s: --max-lora-rank %d, want 8", name, r.MaxLoraRank)
		}
	}
}

// TestExportFails: a fault leaves no folder, and an older one as it was.
func TestExportFails(t *testing.T) {
	base := openTiny(t)
	a := tinyAdapter(base)
	other := *a
	other.Modules = append(slices.Clone(a.Modules), export.Module{Name: "model.layers.9.mlp.up_proj", Dim: 1, In: 1, Out: 1, A: []float32{1}, B: []float32{1}})
	was := tolerances["bf16"]
	t.Cleanup(func() { tolerances["bf16"] = was })
	tolerances["bf16"] = 1e-6
	for name, c := range map[string]struct {
		format, dtype string
		adapter       *export.Adapter
		want          string
	}{
		"beyond tolerance": {FormatHF, "bf16", a, "more than the 1e-06 that storing as bf16 may cost"},
		"no adapter":       {FormatPEFT, "auto", nil, "the format peft is of an adapter"},
		"another base's":   {FormatGGUF, "f16", &other, "model.layers.9.mlp.up_proj"},
		"dtype":            {FormatHF, "q8_0", a, `the format hf cannot be stored as "q8_0"`},
		"format":           {"onnx", "f32", a, `no export has the format "onnx"`},
	} {
		parent := t.TempDir()
		o := ExportOptions{Format: c.format, DType: c.dtype, Out: filepath.Join(parent, "out"), MaxShard: 1 << 30, Device: testDevice(t)}
		if _, err := Export(t.Context(), base, c.adapter, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v (%v)", name, left, err)
		}
		o.Out = parent
		if _, err := Export(t.Context(), base, a, ExportOptions{Format: FormatPEFT, DType: "f32", Out: parent}); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("%s: over a folder: %v", name, err)
		}
	}
}

// TestBare: the view without the adapter gives the base's logits, and the session goes on with the adapter's.
func TestBare(t *testing.T) {
	base := openTiny(t)
	open := func(a *export.Adapter) *Session {
		s, err := OpenSession(testDevice(t), base, "f32", a)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	logits := func(s *Session) []float32 {
		out, err := s.Logits(t.Context(), []int32{5, 6, 7, 8, 9}, []int32{1, 4})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(out...)
	}
	plain, tuned := open(nil), open(tinyAdapter(base))
	before := logits(tuned)
	bare, err := tuned.Bare()
	if err != nil {
		t.Fatal(err)
	}
	devicetest.AssertClose(t, "bare", logits(bare), logits(plain), 1e-6, 1e-6)
	if err := bare.Close(); err != nil {
		t.Error(err)
	}
	if after := logits(tuned); !slices.Equal(after, before) || slices.Equal(after, logits(plain)) {
		t.Error("the session is another after its view, or its adapter does nothing")
	}
	if err := errors.Join(plain.Close(), tuned.Close()); err != nil {
		t.Error(err)
	}
}

// TestCompare: the numbers of a check on logits that are easy to reckon.
func TestCompare(t *testing.T) {
	var c Check
	c.compare([][]float32{{0, 1, 3}, {2, 0, 1}}, [][]float32{{0, 1, 2}, {0, 2, 1}})
	// Differences 1 and 2, 2; spread 2 + 2 about means of 1.
	if math.Abs(c.RelativeError-math.Sqrt(9.0/4)) > 1e-12 || c.MaxError != 2 || c.SameTop != 1 || c.KL <= 0 {
		t.Errorf("%+v", c)
	}
	var same Check
	if same.compare([][]float32{{1, 1}}, [][]float32{{1, 1}}); same.RelativeError != 0 || same.KL != 0 || same.SameTop != 1 {
		t.Errorf("equal logits: %+v", same)
	}
	var bad Check
	if bad.compare([][]float32{{float32(math.NaN()), 1}}, [][]float32{{0, 1}}); bad.RelativeError <= 1e9 {
		t.Errorf("NaN passes: %+v", bad)
	}
}
