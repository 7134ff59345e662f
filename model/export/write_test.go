package export

import (
	"bytes"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// module makes a module with values that all differ.
func module(name string, dim, in, out int) Module {
	m := Module{Name: name, Dim: dim, In: in, Out: out, A: make([]float32, dim*in), B: make([]float32, out*dim)}
	for i := range m.A {
		m.A[i] = float32(i)*0.37 - 1
	}
	for i := range m.B {
		m.B[i] = -float32(i) / 3
	}
	return m
}

// TestBytesArePEFTs compares with the files PEFT wrote, byte for byte.
func TestBytesArePEFTs(t *testing.T) {
	want, err := os.ReadFile("testdata/plain/" + ConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ReadPEFT("testdata/plain")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range a.Modules {
		a.Linears = append(a.Linears, m.Name, strings.Replace(m.Name, "v_proj", "k_proj", 1))
	}
	got, err := configJSON(a)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error(cmp.Diff(string(want), string(got)))
	}
	dir := t.TempDir()
	if err := WritePEFT(dir, *a); err != nil {
		t.Fatal(err)
	}
	wantWeights, err := os.ReadFile("testdata/plain/" + WeightsFile)
	if err != nil {
		t.Fatal(err)
	}
	if files(t, dir)[WeightsFile] != string(wantWeights) {
		t.Errorf("%s is not byte for byte PEFT's", WeightsFile)
	}
	a.Base, a.Revision = "gorun/tiny-\u00e9\U0001f40d", "main"
	got, err = configJSON(a)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(got), `"base_model_name_or_path": "gorun/tiny-\u00e9\ud83d\udc0d"`) ||
		!strings.Contains(string(got), `"revision": "main"`) {
		t.Errorf("base or revision is wrong in %s", got)
	}
}

func TestRoundTrip(t *testing.T) {
	a := Adapter{
		Base: "some/base", Revision: "abc", Dim: 4, Alpha: 16, Dropout: 0.1, RSLoRA: true,
		Modules: []Module{
			module("model.layers.0.mlp.up_proj", 4, 6, 5),
			module("model.layers.2.mlp.up_proj", 4, 6, 5),
			module("model.layers.10.mlp.up_proj", 3, 6, 5),
			module("model.layers.10.self_attn.q_proj", 2, 6, 7),
			module("model.layers.11.self_attn.q_proj", 2, 6, 7),
			module("lm_head", 1, 6, 9),
		},
	}
	for i := range a.Modules {
		a.Modules[i].Alpha = 16
	}
	a.Modules[2].Alpha = 2.5
	a.Modules[5].Alpha = 1
	dir := filepath.Join(t.TempDir(), "deep", "adapter")
	if err := WritePEFT(dir, a); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPEFT(dir)
	if err != nil {
		t.Fatal(err)
	}
	byName := cmpopts.SortSlices(func(x, y Module) bool { return x.Name < y.Name })
	if d := cmp.Diff(&a, got, byName); d != "" {
		t.Error(d)
	}
	order := make([]string, len(got.Modules))
	for i, m := range got.Modules {
		order[i] = m.Name
	}
	if !slices.IsSortedFunc(order, compareNatural) {
		t.Errorf("modules are not in the order of their names: %v", order)
	}
	first := files(t, dir)
	slices.Reverse(a.Modules)
	if err := WritePEFT(dir, a); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, files(t, dir)); d != "" {
		t.Errorf("the same adapter in another order gives other files: %s", d)
	}
}

// TestBitsSurvive: what training continues from is bit for bit what it had, signed zero and denormals too.
func TestBitsSurvive(t *testing.T) {
	m := module("model.layers.0.self_attn.q_proj", 1, 4, 3)
	m.A = []float32{math.Float32frombits(1), float32(math.Copysign(0, -1)), math.MaxFloat32, 0.1}
	dir := t.TempDir()
	if err := WritePEFT(dir, Adapter{Dim: 1, Alpha: 1, Modules: []Module{m}}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPEFT(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got.Modules[0].A {
		if math.Float32bits(v) != math.Float32bits(m.A[i]) {
			t.Errorf("A[%d] is %x, want %x", i, math.Float32bits(v), math.Float32bits(m.A[i]))
		}
	}
}

// files returns the names and contents of a folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	return out
}

// TestFailedWriteKeepsTheOlder: whichever file cannot be written, the adapter that was there still loads.
func TestFailedWriteKeepsTheOlder(t *testing.T) {
	for _, file := range []string{ConfigFile, WeightsFile} {
		dir := t.TempDir()
		older := Adapter{Base: "older", Dim: 2, Alpha: 4, Modules: []Module{module("a.q_proj", 2, 3, 4)}}
		if err := WritePEFT(dir, older); err != nil {
			t.Fatal(err)
		}
		blocker := filepath.Join(dir, ".tmp-"+file)
		if err := os.MkdirAll(filepath.Join(blocker, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		newer := older
		newer.Base = "newer"
		if err := WritePEFT(dir, newer); err == nil || !strings.Contains(err.Error(), dir) {
			t.Fatalf("%s blocked: error is %v", file, err)
		}
		got, err := ReadPEFT(dir)
		if err != nil {
			t.Fatalf("%s blocked: %v", file, err)
		}
		if got.Base != "older" {
			t.Errorf("%s blocked: base is %q", file, got.Base)
		}
		if err := os.RemoveAll(blocker); err != nil {
			t.Fatal(err)
		}
		if names := slices.Sorted(maps.Keys(files(t, dir))); !slices.Equal(names, []string{ConfigFile, WeightsFile}) {
			t.Errorf("%s blocked: files left: %v", file, names)
		}
	}
}

func TestWritePEFTFaults(t *testing.T) {
	nan := module("a.k_proj", 2, 3, 4)
	nan.B[5] = float32(math.Inf(1))
	short := module("a.v_proj", 2, 3, 4)
	short.A = short.A[1:]
	dir := filepath.Join(t.TempDir(), "adapter")
	err := WritePEFT(dir, Adapter{Dim: 0, Alpha: math.NaN(), Dropout: 1, Linears: []string{"a.q_proj"}, Modules: []Module{
		module("a.q_proj", 2, 3, 4), module("a.q_proj", 2, 3, 4), module("a b", 2, 3, 4), nan, short, {Name: "a.o_proj", Dim: 2},
	}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, w := range []string{"Dim is 0", "Alpha is NaN", "Dropout is 1", `"a.q_proj" is given twice`, `"a b"`, "B[5] is +Inf",
		"A has 5 values", "In 0", `"a.k_proj" is not one of the base's`} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
}

func TestTargets(t *testing.T) {
	linears := []string{"model.layers.0.q_proj", "model.layers.0.v_proj", "model.layers.1.q_proj", "model.layers.1.v_proj", "lm_head"}
	for _, c := range []struct {
		adapted, linears, want []string
	}{
		{linears[:4], linears, []string{"q_proj", "v_proj"}},
		{linears[:3], linears, []string{"model.layers.0.v_proj", "q_proj"}},
		{linears[4:], linears, []string{"lm_head"}},
		{linears[:1], linears, []string{"model.layers.0.q_proj"}},
		{linears[:3], nil, []string{"model.layers.0.q_proj", "model.layers.0.v_proj", "model.layers.1.q_proj"}},
	} {
		if got := targets(c.adapted, c.linears); !slices.Equal(got, c.want) {
			t.Errorf("targets(%v) = %v, want %v", c.adapted, got, c.want)
		}
	}
}

func TestPythonNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0", 0.05: "0.05", 1: "1.0", 1e-5: "1e-05", 0.0001: "0.0001", 1e16: "1e+16", 123456789.25: "123456789.25"} {
		if got := string(pyFloat(v)); got != want {
			t.Errorf("pyFloat(%v) = %s, want %s", v, got, want)
		}
	}
	for v, want := range map[float64]string{16: "16", 6.5: "6.5", 1e300: "1e+300"} {
		if got := string(pyNumber(v)); got != want {
			t.Errorf("pyNumber(%v) = %s, want %s", v, got, want)
		}
	}
}
