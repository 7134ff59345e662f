package export

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/safetensors"
)

// expected is one module as PEFT saw it (tools/oracle/adapter.py).
type expected struct {
	Name    string    `json:"name"`
	Dim     int       `json:"dim"`
	Alpha   float64   `json:"alpha"`
	Scaling float64   `json:"scaling"`
	AShape  []int     `json:"a_shape"`
	BShape  []int     `json:"b_shape"`
	A       []float32 `json:"a"` // the first values
	B       []float32 `json:"b"` // the last values
}

func TestReadPEFTAgreesWithPEFT(t *testing.T) {
	for _, name := range []string{"plain", "patterns"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			data, err := os.ReadFile(filepath.Join(dir, "expect.json"))
			if err != nil {
				t.Fatal(err)
			}
			var want []expected
			if err := json.Unmarshal(data, &want); err != nil {
				t.Fatal(err)
			}
			a, err := ReadPEFT(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Modules) != len(want) {
				t.Fatalf("%d modules, want %d", len(a.Modules), len(want))
			}
			for _, w := range want {
				i := slices.IndexFunc(a.Modules, func(m Module) bool { return m.Name == w.Name })
				if i < 0 {
					t.Errorf("%s is missing", w.Name)
					continue
				}
				m := &a.Modules[i]
				if m.Dim != w.Dim || m.Alpha != w.Alpha || math.Abs(a.Scaling(m)-w.Scaling) > 1e-12 {
					t.Errorf("%s: Dim %d Alpha %v scaling %v, want %d %v %v", w.Name, m.Dim, m.Alpha, a.Scaling(m), w.Dim, w.Alpha, w.Scaling)
				}
				if !slices.Equal([]int{m.Dim, m.In}, w.AShape) || !slices.Equal([]int{m.Out, m.Dim}, w.BShape) {
					t.Errorf("%s: In %d Out %d, want A %v B %v", w.Name, m.In, m.Out, w.AShape, w.BShape)
				}
				if !slices.Equal(m.A[:len(w.A)], w.A) || !slices.Equal(m.B[len(m.B)-len(w.B):], w.B) {
					t.Errorf("%s: values differ: A %v, want %v; B %v, want %v", w.Name,
						m.A[:len(w.A)], w.A, m.B[len(m.B)-len(w.B):], w.B)
				}
			}
		})
	}
	a, err := ReadPEFT("testdata/patterns")
	if err != nil {
		t.Fatal(err)
	}
	if a.Base != "gorun/tiny-\u00e9\U0001f40d" || !a.RSLoRA || a.Dim != 4 || a.Alpha != 6.5 {
		t.Errorf("scalars are %q %v %d %v", a.Base, a.RSLoRA, a.Dim, a.Alpha)
	}
}

// change returns the plain fixture's configuration with fields replaced; nil removes one.
func change(t *testing.T, fields map[string]any) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/plain/adapter_config.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for name, v := range fields {
		if v == nil {
			delete(all, name)
		} else {
			all[name] = v
		}
	}
	out, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type fields = map[string]any

func TestConfigFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields fields
		want   []string // each in the message
	}{
		{"no type", fields{"peft_type": nil}, []string{"peft_type is missing"}},
		{"other type", fields{"peft_type": "IA3"}, []string{`peft_type "IA3"`}},
		{"classifier", fields{"task_type": "SEQ_CLS"}, []string{"SEQ_CLS"}},
		{"several at once", fields{"lora_bias": true, "bias": "all", "modules_to_save": []string{"norm"}, "r": 0},
			[]string{"lora_bias=False", `bias "all"`, "modules_to_save", "r is 0"}},
		{"lora bias", fields{"lora_bias": true}, []string{"lora_bias"}},
		{"transposed", fields{"fan_in_fan_out": true}, []string{"Conv1D"}},
		{"base changed", fields{"init_lora_weights": "pissa_niter_4"}, []string{"path_initial_model_for_weight_conversion"}},
		{"newer field", fields{"use_future": map[string]any{"k": 1}}, []string{"use_future", `{"k":1}`}},
		{"wrong kinds", fields{"r": "four", "lora_alpha": []int{1}}, []string{"r is \"four\"", "lora_alpha is [1]"}},
		{"negative alpha", fields{"lora_alpha": -1}, []string{"lora_alpha is -1"}},
		{"dropout", fields{"lora_dropout": 1.5}, []string{"lora_dropout is 1.5"}},
		{"look-ahead", fields{"target_modules": "(?!x).*proj"}, []string{"list the modules by name"}},
		{"huge expression", fields{"target_modules": "((x{900}){900}){900}"}, []string{"target_modules", "regular expression"}},
		{"pattern value", fields{"rank_pattern": fields{"q_proj": 1.5}}, []string{`rank_pattern["q_proj"] is 1.5`}},
		{"pattern kind", fields{"alpha_pattern": []int{1}}, []string{"alpha_pattern is [1]"}},
		{"pattern entry", fields{"alpha_pattern": fields{"q_proj": "x"}}, []string{`alpha_pattern["q_proj"]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseConfig(change(t, c.fields))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestConfigAccepts(t *testing.T) {
	for name, f := range map[string]fields{
		"defaults left out": {"r": nil, "lora_alpha": nil, "bias": nil, "task_type": nil, "target_modules": nil, "rank_pattern": nil},
		"newer field off":   {"use_future": false, "future_config": map[string]any{}},
		"gaussian":          {"init_lora_weights": "gaussian"},
		"all-linear":        {"target_modules": "all-linear"},
		"runtime":           {"runtime_config": map[string]any{"ephemeral_gpu_offload": true}},
	} {
		c, err := parseConfig(change(t, f))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.covers("model.layers.0.self_attn.q_proj") {
			t.Errorf("%s: q_proj is not covered", name)
		}
	}
}

func TestCovers(t *testing.T) {
	const q0, q10, up = "model.layers.0.self_attn.q_proj", "model.layers.10.self_attn.q_proj", "model.layers.0.mlp.gate_up_proj"
	for _, c := range []struct {
		fields fields
		in     []string
		out    []string
	}{
		{fields{"target_modules": []string{"q_proj"}}, []string{q0, q10, "q_proj"}, []string{up, "model.xq_proj"}},
		{fields{"target_modules": []string{"up_proj"}}, nil, []string{up}},
		{fields{"target_modules": []string{"0.self_attn.q_proj"}}, []string{q0}, []string{q10}},
		{fields{"target_modules": ".*q_proj"}, []string{q0, q10}, []string{up}},
		{fields{"target_modules": "q_proj|k_proj"}, []string{"q_proj"}, []string{q0}},
		{fields{"target_modules": "all-linear", "exclude_modules": []string{"gate_up_proj"}}, []string{q0}, []string{up}},
		{fields{"target_modules": "all-linear", "exclude_modules": `.*\.10\..*`}, []string{q0}, []string{q10}},
		{fields{"target_modules": []string{"q_proj", up}, "layers_to_transform": 10}, []string{q10, up, "q_proj"}, []string{q0}},
		{fields{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0}, "layers_pattern": "layers"}, []string{q0}, []string{q10}},
		{fields{"target_modules": []string{"q_proj"}, "layers_to_transform": []int{0}, "layers_pattern": []string{"h"}}, nil, []string{q0}},
	} {
		cfg, err := parseConfig(change(t, c.fields))
		if err != nil {
			t.Errorf("%v: %v", c.fields, err)
			continue
		}
		for _, name := range c.in {
			if !cfg.covers(name) {
				t.Errorf("%v leaves out %s", c.fields, name)
			}
		}
		for _, name := range c.out {
			if cfg.covers(name) {
				t.Errorf("%v covers %s", c.fields, name)
			}
		}
	}
}

// TestPatternOrder holds PEFT's rule: the first entry that matches wins, in the file's order.
func TestPatternOrder(t *testing.T) {
	const q = "model.layers.1.self_attn.q_proj"
	for _, c := range []struct {
		object string
		want   float64
	}{
		{`{}`, 8},
		{`{"q_proj": 2, "layers.1.self_attn.q_proj": 3}`, 2},
		{`{"layers.1.self_attn.q_proj": 3, "q_proj": 2}`, 3},
		{`{"_proj": 2}`, 8},
		{`{"layersx1.self_attn.q_proj": 2, "^model.layers.1.self_attn.q_proj": 4}`, 4},
		{`{"layers.[02].*": 2, "model.*": 5}`, 5},
		{`{"x.model.layers.1.self_attn.q_proj": 2}`, 8},
	} {
		p := fieldParser{fields: map[string]json.RawMessage{"rank_pattern": json.RawMessage(c.object)}}
		entries := p.patterns("rank_pattern", func(float64) bool { return true })
		if err := errors.Join(p.faults...); err != nil {
			t.Errorf("%s: %v", c.object, err)
		}
		if got := valueFor(entries, q, 8); got != c.want {
			t.Errorf("%s gives %v, want %v", c.object, got, c.want)
		}
	}
}

func TestWeightFaults(t *testing.T) {
	const q = "base_model.model.model.layers.0.self_attn.q_proj"
	f32 := func(name string, shape ...int) safetensors.Tensor {
		n := 4
		for _, d := range shape {
			n *= d
		}
		return safetensors.Tensor{Name: name, DType: dtypes.Float32, Shape: shape, Data: make([]byte, n)}
	}
	nan := f32(q+suffixB, 8, 4)
	copy(nan.Data[12:], []byte{0, 0, 0xc0, 0x7f})
	i32 := f32(q+suffixB, 8, 4)
	i32.DType = dtypes.Int32
	a, b := f32(q+suffixA, 4, 16), f32(q+suffixB, 8, 4)
	for _, c := range []struct {
		name    string
		tensors []safetensors.Tensor
		want    []string
	}{
		{"alone", []safetensors.Tensor{a}, []string{"lora_A without lora_B"}},
		{"alone too", []safetensors.Tensor{b}, []string{"lora_B without lora_A"}},
		{"other dim", []safetensors.Tensor{f32(q+suffixA, 3, 16), f32(q+suffixB, 8, 3)}, []string{"[3 16]", "r = 4"}},
		{"dims differ", []safetensors.Tensor{a, f32(q+suffixB, 8, 5)}, []string{"[8 5]"}},
		{"not a matrix", []safetensors.Tensor{f32(q+suffixA, 64), b}, []string{"[64]"}},
		{"empty", []safetensors.Tensor{f32(q+suffixA, 4, 0), b}, []string{"[4 0]"}},
		{"nothing", nil, []string{"at least one"}},
		{"integers", []safetensors.Tensor{a, i32}, []string{"want float32"}},
		{"nan", []safetensors.Tensor{a, nan}, []string{"B[3] is NaN"}},
		{"uncovered", []safetensors.Tensor{f32(keyPrefix+"x.up_proj"+suffixA, 4, 16), f32(keyPrefix+"x.up_proj"+suffixB, 8, 4)},
			[]string{`"x.up_proj"`, "target_modules"}},
		{"all at once", []safetensors.Tensor{a,
			f32("base_model.model.lm_head.weight", 8, 8), f32("foo", 1),
			f32(q+".base_layer.bias", 8), f32(q+".lora_B.bias", 8), f32("base_model.model.model.embed_tokens.lora_embedding_A", 4, 8)},
			[]string{"without", "save_embedding_layers", `"foo"`, "bias=\"none\"", "lora_bias", "embeddings"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, ConfigFile), change(t, nil), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := safetensors.Write(filepath.Join(dir, WeightsFile), c.tensors, nil); err != nil {
				t.Fatal(err)
			}
			_, err := ReadPEFT(dir)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range append(c.want, dir) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestReadPEFTMissingFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadPEFT(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), ConfigFile) {
		t.Errorf("empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigFile), change(t, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPEFT(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), WeightsFile) {
		t.Errorf("no weights: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_model.bin"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPEFT(dir); err == nil || !strings.Contains(err.Error(), "pickle") {
		t.Errorf("pickle: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, WeightsFile), []byte("short"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPEFT(dir); err == nil || !strings.Contains(err.Error(), WeightsFile) {
		t.Errorf("truncated weights: %v", err)
	}
}

func TestCompareNatural(t *testing.T) {
	sorted := []string{"", "a", "a.2", "a.2.x", "a.10", "a.10.x", "a.010", "a.x", "b"}
	for i, x := range sorted {
		for j, y := range sorted {
			got, want := compareNatural(x, y), i-j
			if got < 0 != (want < 0) || got > 0 != (want > 0) {
				t.Errorf("compareNatural(%q, %q) = %d", x, y, got)
			}
		}
	}
}

// FuzzConfig: no configuration may crash the reader, and one that is accepted can be asked about names.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"plain", "patterns"} {
		data, err := os.ReadFile(filepath.Join("testdata", name, ConfigFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight")
	}
	f.Add([]byte(`{"peft_type":"LORA","layers_to_transform":3,"layers_pattern":"h","rank_pattern":{"(a|b)+":2}}`), "lm_head")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		t4 := safetensors.Tensor{Name: key, DType: dtypes.Float32, Shape: []int{1, 1}, Data: make([]byte, 4)}
		if a, err := assemble(c, []safetensors.Tensor{t4}); err == nil {
			t.Errorf("one matrix was accepted as an adapter: %+v", a)
		}
	})
}
