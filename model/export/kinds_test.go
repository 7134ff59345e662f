package export

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gorun/model/gguf"
	"gorun/model/safetensors"
	"gorun/model/spec"
)

const kinds = "../testdata/kinds"

func readKind(t *testing.T, name string) *Adapter {
	t.Helper()
	a, err := ReadPEFT(filepath.Join(kinds, name, "adapter"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestKindsRoundTrip: DoRA, trained tables and patterns that PEFT wrote are written again as they were.
func TestKindsRoundTrip(t *testing.T) {
	for _, name := range []string{"dora", "dora_fused", "patterns", "saved", "saved_tied"} {
		t.Run(name, func(t *testing.T) {
			a, dir := readKind(t, name), t.TempDir()
			if err := WritePEFT(dir, *a); err != nil {
				t.Fatal(err)
			}
			tensors := func(dir string) map[string]safetensors.Tensor {
				list, _, err := safetensors.ReadAll(filepath.Join(dir, WeightsFile))
				if err != nil {
					t.Fatal(err)
				}
				out := map[string]safetensors.Tensor{}
				for _, x := range list {
					out[x.Name] = x
				}
				return out
			}
			want, got := tensors(filepath.Join(kinds, name, "adapter")), tensors(dir)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%d tensors differ from PEFT's %d", len(got), len(want))
			}
			b, err := ReadPEFT(dir)
			if err != nil || !reflect.DeepEqual(b.Modules, a.Modules) || !reflect.DeepEqual(b.Tables, a.Tables) || b.Tied != a.Tied {
				t.Errorf("read back: %v, another adapter", err)
			}
			var config struct {
				DoRA  bool     `json:"use_dora"`
				Saved []string `json:"modules_to_save"`
				Tying bool     `json:"ensure_weight_tying"`
			}
			text, err := os.ReadFile(filepath.Join(dir, ConfigFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &config); err != nil {
				t.Fatal(err)
			}
			if config.DoRA != strings.HasPrefix(name, "dora") || config.Tying != (name == "saved_tied") || (config.Saved != nil) != strings.HasPrefix(name, "saved") {
				t.Errorf("the configuration says %+v", config)
			}
		})
	}
}

// TestKindsRefused: formats that hold plain LoRA alone say so.
func TestKindsRefused(t *testing.T) {
	for name, want := range map[string]string{"dora": "is DoRA's", "saved_tied": "modules_to_save [embed_tokens lm_head]"} {
		a := readKind(t, name)
		if _, _, err := ForVLLM(a); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "merge it into the base") {
			t.Errorf("vLLM, %s: %v, want %q", name, err, want)
		}
		d := openBase(t, filepath.Join(goldens, "qwen2")).Decoder
		if err := WriteGGUFAdapter(filepath.Join(t.TempDir(), "a.gguf"), d, a, gguf.F32); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("GGUF, %s: %v, want %q", name, err, want)
		}
	}
	apart := readKind(t, "saved_tied")
	apart.Tied = false
	if err := apart.Fits(openBase(t, filepath.Join(goldens, "qwen2")).Decoder); err == nil || !strings.Contains(err.Error(), "without ensure_weight_tying") {
		t.Errorf("a tied base with tables trained apart: %v", err)
	}
	if err := readKind(t, "saved").Fits(openBase(t, filepath.Join(goldens, "llama3")).Decoder); err == nil {
		t.Error("tables of another base are accepted")
	}
}

// TestMergeKinds: a merged row of DoRA has the length of its magnitude and the direction of base and adapter; trained
// tables stand in the place of the base's.
func TestMergeKinds(t *testing.T) {
	a, base := readKind(t, "dora"), openBase(t, filepath.Join(goldens, "qwen2"))
	merged, err := Merge(base, a)
	if err != nil {
		t.Fatal(err)
	}
	plain := *a
	plain.Modules = append([]Module(nil), a.Modules...)
	for i := range plain.Modules {
		plain.Modules[i].Magnitude = nil
	}
	direction, err := Merge(base, &plain)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Modules {
		m := &a.Modules[i]
		got, want := make([]float32, m.Out*m.In), make([]float32, m.Out*m.In)
		if err := merged.Rows(m.Name+".weight", 0, m.Out, got); err != nil {
			t.Fatal(err)
		}
		if err := direction.Rows(m.Name+".weight", 0, m.Out, want); err != nil {
			t.Fatal(err)
		}
		for row, length := range m.Magnitude {
			g, w := got[row*m.In:(row+1)*m.In], want[row*m.In:(row+1)*m.In]
			dot := 0.0
			for j := range g {
				dot += float64(g[j]) * float64(w[j])
			}
			if l := Length(g); math.Abs(float64(l/length-1)) > 1e-5 || math.Abs(dot/float64(l*Length(w))-1) > 1e-5 {
				t.Fatalf("%s, row %d: length %g, want %g, and the direction of base and adapter", m.Name, row, l, length)
			}
		}
	}
	saved := readKind(t, "saved")
	if merged, err = Merge(openBase(t, filepath.Join(goldens, "llama2")), saved); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{spec.EmbedTensor, spec.HeadTensor} {
		table := saved.Table(name)
		got := make([]float32, 2*table.Cols)
		if err := merged.Rows(name, 3, 5, got); err != nil || !reflect.DeepEqual(got, table.Values[3*table.Cols:5*table.Cols]) {
			t.Errorf("%s: %v, not the trained rows", name, err)
		}
		if err := merged.Rows(name, 0, table.Rows+1, got); err == nil {
			t.Errorf("%s: rows beyond the last are given", name)
		}
	}
}

// TestKindFaults: a folder whose files contradict each other is refused.
func TestKindFaults(t *testing.T) {
	for _, c := range []struct{ kind, old, fresh, want string }{
		{"dora", `"use_dora": true`, `"use_dora": false`, "use_dora is not true"},
		{"patterns", `"use_dora": false`, `"use_dora": true`, "no lora_magnitude_vector"},
		{"saved", `"embed_tokens",`, ``, "that modules_to_save does not name"},
		{"patterns", `"modules_to_save": null`, `"modules_to_save": ["lm_head"]`, "there is no key base_model.model.lm_head.weight"},
		{"patterns", `"modules_to_save": null`, `"modules_to_save": ["norm"]`, `modules_to_save: "norm" is not supported`},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(kinds, c.kind, "adapter"))); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, ConfigFile)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(text, []byte(c.old), []byte(c.fresh), 1)
		if bytes.Equal(changed, text) {
			t.Fatalf("%s has no %s", c.kind, c.old)
		}
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPEFT(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %q", c.kind, c.fresh, err, c.want)
		}
	}
}
