package export

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/gguf"
	"gorun/model/weights"
)

const goldens = "../testdata/golden"

// families lists the golden models, each with an adapter on every linear.
func families(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(goldens)
	if err != nil || len(entries) < 9 {
		t.Fatalf("%d golden models, %v", len(entries), err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// base copies a golden model, gives it a tokenizer of fewer tokens than its vocabulary, and opens it.
func base(t *testing.T, family string) *weights.Model {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors"} {
		content, err := os.ReadFile(filepath.Join(goldens, family, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const tok = `{"added_tokens": [], "normalizer": null, "post_processor": null, "decoder": {"type": "ByteLevel"},
"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(tok), 0o600); err != nil {
		t.Fatal(err)
	}
	return openBase(t, dir)
}

func openBase(t *testing.T, path string) *weights.Model {
	t.Helper()
	m, err := weights.Open(path)
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

func goldenAdapter(t *testing.T, family string) *Adapter {
	t.Helper()
	a, err := ReadPEFT(filepath.Join(goldens, family, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// rows reads a whole tensor.
func rows(t *testing.T, m *Merged, name string, shape []int) []float32 {
	t.Helper()
	n := 1
	for _, d := range shape {
		n *= d
	}
	out := make([]float32, n)
	if err := m.Rows(name, 0, shape[0], out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMerge compares every merged weight with W + scaling * B A in float64.
func TestMerge(t *testing.T) {
	for _, family := range families(t) {
		b, a := base(t, family), goldenAdapter(t, family)
		m, err := Merge(b, a)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := Merge(b, nil)
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for _, tensor := range b.Decoder.Tensors() {
			got, want := rows(t, m, tensor.Name, tensor.Shape), rows(t, plain, tensor.Name, tensor.Shape)
			for i := range a.Modules {
				if mod := &a.Modules[i]; mod.Name+".weight" == tensor.Name {
					addProduct(want, a, mod)
					changed++
				}
			}
			for i := range got {
				if math.Abs(float64(got[i]-want[i])) > 1e-6 {
					t.Fatalf("%s: %s[%d] is %g, want %g", family, tensor.Name, i, got[i], want[i])
				}
			}
		}
		if changed != len(a.Modules) {
			t.Errorf("%s: %d tensors changed, want %d", family, changed, len(a.Modules))
		}
	}
}

func addProduct(w []float32, a *Adapter, m *Module) {
	dim := a.DimOf(m)
	for o := range m.Out {
		for i := range m.In {
			sum := 0.0
			for r := range dim {
				sum += float64(m.B[o*dim+r]) * float64(m.A[r*m.In+i])
			}
			w[o*m.In+i] += float32(sum * a.Scaling(m))
		}
	}
}

// TestMergeRefuses: an adapter of another base is refused, all its modules named.
func TestMergeRefuses(t *testing.T) {
	_, err := Merge(base(t, "llama3"), goldenAdapter(t, "phi3"))
	if err == nil || !strings.Contains(err.Error(), "qkv_proj") || !strings.Contains(err.Error(), "layers.1.mlp.gate_up_proj") {
		t.Errorf("another family: %v", err)
	}
	a := goldenAdapter(t, "llama3")
	a.Modules[3].Out++
	a.Modules = append(a.Modules, module("lm_head", 4, 32, 97))
	_, err = Merge(base(t, "llama3"), a)
	if err == nil || !strings.Contains(err.Error(), "the base's linear [") || !strings.Contains(err.Error(), "head is its embedding") {
		t.Errorf("another size, and a tied head: %v", err)
	}
}

// TestWriteHF: what is written opens again with the same weights, rounded once; config.json differs in its dtype alone;
// a tied head is not written; small shards make no difference.
func TestWriteHF(t *testing.T) {
	for _, family := range families(t) {
		b, a := base(t, family), goldenAdapter(t, family)
		m, err := Merge(b, a)
		if err != nil {
			t.Fatal(err)
		}
		for dtype, epsilon := range map[dtypes.DType]float64{dtypes.Float32: 0, dtypes.Float16: 0x1p-11, dtypes.BFloat16: 0x1p-8} {
			dir := t.TempDir()
			if err := WriteHF(dir, m, dtype, 20000); err != nil {
				t.Fatal(err)
			}
			back := openBase(t, dir)
			sameWeights(t, family+" "+dtype.String(), back, m, epsilon)
			if back.Decoder.DType != dtype {
				t.Errorf("%s: config.json says %s, want %s", family, back.Decoder.DType, dtype)
			}
			if got, _, _ := back.Info(b.Decoder.Tensors()[0].Name); got != dtype {
				t.Errorf("%s: stored as %s, want %s", family, got, dtype)
			}
		}
	}
}

// sameWeights compares every tensor of an opened model with a merge, within a relative epsilon.
func sameWeights(t *testing.T, what string, got *weights.Model, want *Merged, epsilon float64) {
	t.Helper()
	plain, err := Merge(got, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range want.Base.Decoder.Tensors() {
		w, g := rows(t, want, tensor.Name, tensor.Shape), rows(t, plain, tensor.Name, tensor.Shape)
		for i := range w {
			if math.Abs(float64(g[i]-w[i])) > epsilon*max(math.Abs(float64(w[i])), 0x1p-14) { // below it float16 is subnormal
				t.Fatalf("%s: %s[%d] is %g, want %g", what, tensor.Name, i, g[i], w[i])
			}
		}
	}
}

// TestWithDType: not a byte beside the dtype changes.
func TestWithDType(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                               "{\n  \"torch_dtype\": \"bfloat16\"}",
		`{ "a" :1}`:                        "{\n  \"torch_dtype\": \"bfloat16\", \"a\" :1}",
		`{"a":{"dtype":"x"},"dtype": "y"}`: `{"a":{"dtype":"x"},"dtype": "bfloat16"}`,
		"{\"torch_dtype\" : null ,\n\"dtype\":\"z\"}\n": "{\"torch_dtype\" : \"bfloat16\" ,\n\"dtype\":\"bfloat16\"}\n",
	} {
		if got, err := withDType([]byte(in), "bfloat16"); err != nil || string(got) != want {
			t.Errorf("%s becomes %s (%v), want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{``, `[]`, `{"a":}`, `{"a":1`, `{} {}`} {
		if got, err := withDType([]byte(bad), "bfloat16"); err == nil {
			t.Errorf("%s becomes %s", bad, got)
		}
	}
}

// TestWriteGGUF: what is written opens again, as the same decoder with the same weights, in every type.
func TestWriteGGUF(t *testing.T) {
	for _, family := range families(t) {
		if refusesGGUF(t, family) {
			continue
		}
		m, err := Merge(base(t, family), goldenAdapter(t, family))
		if err != nil {
			t.Fatal(err)
		}
		for as, epsilon := range map[gguf.Type]float64{gguf.F32: 0, gguf.F16: 0x1p-11, gguf.BF16: 0x1p-8} {
			path := filepath.Join(t.TempDir(), "m.gguf")
			if err := WriteGGUF(path, m, as, "tiny"); err != nil {
				t.Fatal(err)
			}
			back := openBase(t, path)
			sameWeights(t, family+" "+as.String(), back, m, epsilon)
			if back.Meta["general.name"] != "tiny" || back.Meta["general.file_type"] != fileTypes[as] {
				t.Errorf("%s: general.name %v, file_type %v", family, back.Meta["general.name"], back.Meta["general.file_type"])
			}
			again := filepath.Join(t.TempDir(), "again.gguf") // a GGUF base, its metadata given on
			plain, err := Merge(back, nil)
			if err := errors.Join(err, WriteGGUF(again, plain, as, "tiny")); err != nil {
				t.Fatal(err)
			}
			first, errA := os.ReadFile(path)
			second, errB := os.ReadFile(again)
			if errors.Join(errA, errB) != nil || !bytes.Equal(first, second) {
				t.Errorf("%s: a GGUF of a GGUF is another", family)
			}
		}
	}
}

// TestGGUFTypes: as llama.cpp's converters choose, vectors and norms are F32, and rows that are no whole blocks F16.
func TestGGUFTypes(t *testing.T) {
	m, err := Merge(base(t, "llama3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := WriteGGUF(path, m, gguf.Q8_0, "tiny"); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]gguf.Type{
		"token_embd.weight": gguf.Q8_0, "blk.0.attn_q.weight": gguf.Q8_0, "blk.1.ffn_down.weight": gguf.F16, // rows of 32, 32, 48
		"blk.0.attn_norm.weight": gguf.F32, "output_norm.weight": gguf.F32, "rope_freqs.weight": gguf.F32,
	} {
		if info, ok := f.Info(name); !ok || info.Type != want {
			t.Errorf("%s is %v, want %s", name, info, want)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestGGUFBaseToHF: a folder made of a GGUF file is that of the base it was made of.
func TestGGUFBaseToHF(t *testing.T) {
	m, err := Merge(base(t, "smollm2"), goldenAdapter(t, "smollm2"))
	if err != nil {
		t.Fatal(err)
	}
	path, dir := filepath.Join(t.TempDir(), "m.gguf"), t.TempDir()
	if err := WriteGGUF(path, m, gguf.F32, "tiny"); err != nil {
		t.Fatal(err)
	}
	again, err := Merge(openBase(t, path), nil)
	if err := errors.Join(err, WriteHF(dir, again, dtypes.Float32, 1<<20)); err != nil {
		t.Fatal(err)
	}
	back := openBase(t, dir)
	sameWeights(t, "through GGUF", back, m, 0)
	if back.TokenizerPath == "" {
		t.Error("no tokenizer.json")
	}
}

// refusesGGUF tells whether there are no GGUF files of a family, which is said before anything is written.
func refusesGGUF(t *testing.T, family string) bool {
	t.Helper()
	b := base(t, family)
	if !slices.Contains([]string{"gemma2", "gemma3_text", "olmo2", "granite", "mixtral", "qwen3_moe"}, b.Decoder.Family) {
		return false
	}
	m, err := Merge(b, goldenAdapter(t, family))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	for what, err := range map[string]error{
		"model":   WriteGGUF(path, m, gguf.F32, "tiny"),
		"adapter": WriteGGUFAdapter(path, b.Decoder, goldenAdapter(t, family), gguf.F32),
	} {
		if err == nil || !strings.Contains(err.Error(), "use the Hugging Face format") {
			t.Errorf("%s, %s: %v", family, what, err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s: a file is left", family)
	}
	return true
}
