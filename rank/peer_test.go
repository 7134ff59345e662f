package rank

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
)

// TestFSDP2: two ranks train as torch's FSDP2 does on two (tools/oracle/fsdp.py): the same loss and the same norm of the
// gradient in each of 10 steps, LoRA and full.
func TestFSDP2(t *testing.T) {
	devicetest.CPUOnly(t)
	golden := filepath.Join("testdata", "fsdp2")
	var want map[string]struct {
		Loss []float64
		Norm []float64 `json:"grad_norm"`
	}
	if err := json.Unmarshal(file(t, golden, "losses.json"), &want); err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	for name, from := range map[string]string{
		"config.json": golden, "model.safetensors": golden, "gpt2_tokenizer.json": "../model/tokenizer/testdata",
	} {
		if err := os.WriteFile(filepath.Join(base, strings.TrimPrefix(name, "gpt2_")), file(t, from, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "tokenizer_config.json"), []byte(`{"eos_token":"</s>"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string][]string{
		"lora": {"optimizer.lr=1e-3", "peft.init_from=" + filepath.Join(golden, "adapter")},
		"full": {"optimizer.lr=1e-4", "peft.scheme=none"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r, err := configs.Parse("test", fmt.Appendf(nil, `
[model]
pretrained_model_name_or_path = %q
dtype = "f32"
[dataset]
kind = "text"
path_or_id = %q
[dataloader]
batch_size = 2
[step_scheduler]
grad_acc_steps = 2
num_epochs = 5
[optimizer]
name = "adamw"
[checkpoint]
enabled = false
[logging]
dir = %q
`, base, filepath.Join(golden, "data.jsonl"), dir), set)
			if err != nil {
				t.Fatal(err)
			}
			trainOn(t, r, 2)
			want := want[name]
			got := losses(t, dir)
			if len(got) != len(want.Loss) || len(got) != 10 {
				t.Fatalf("%d steps, torch has %d", len(got), len(want.Loss))
			}
			norms := column(t, dir, "grad_norm")
			for i := range got {
				if !(math.Abs(got[i]/want.Loss[i]-1) <= 1e-5) || !(math.Abs(norms[i]/want.Norm[i]-1) <= 1e-4) {
					t.Errorf("step %d: loss %.8g, gradient norm %.6g; torch has %.8g and %.6g", i+1, got[i], norms[i], want.Loss[i], want.Norm[i])
				}
			}
		})
	}
}

// column reads one number of every line of training.jsonl.
func column(t *testing.T, dir, name string) (out []float64) {
	t.Helper()
	for line := range strings.Lines(string(file(t, dir, "training.jsonl"))) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		v, ok := r[name].(float64)
		if !ok {
			t.Fatalf("no %s in %s", name, line)
		}
		out = append(out, v)
	}
	return out
}
