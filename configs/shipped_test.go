package configs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShipped loads and validates every shipped recipe, and reads its effective recipe back.
func TestShipped(t *testing.T) {
	want := []string{"demo", "llama3_1_8b_squad_peft", "llama3_2_1b_squad_full", "llama3_2_1b_squad_peft", "mistral_7b_squad_peft", "phi3_mini_squad_peft", "qwen2_5_7b_squad_peft"}
	if diff := cmp.Diff(want, Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
	for _, name := range Names() {
		r, err := Load(name, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, dp := range []int{1, 2, 4, 8} {
			if _, err := r.ResolveAccumulation(dp); err != nil {
				t.Errorf("%s on %d ranks: %v", name, dp, err)
			}
		}
		scheme := "lora"
		if strings.HasSuffix(name, "_full") {
			scheme = "none"
		}
		if r.PEFT.Scheme != scheme {
			t.Errorf("%s: peft.scheme = %q, want %q", name, r.PEFT.Scheme, scheme)
		}
		var b bytes.Buffer
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		back, err := Parse(name, b.Bytes(), nil)
		if err != nil {
			t.Errorf("%s written: %v", name, err)
			continue
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Errorf("%s (-wrote +read):\n%s", name, diff)
		}
	}
}

// TestGuide holds the numbers of AutoModel's guide.
func TestGuide(t *testing.T) {
	r, err := Load("llama3_2_1b_squad_peft", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.StepScheduler = StepScheduler{GradAccSteps: 4, CkptEverySteps: 1000, ValEverySteps: 10, NumEpochs: 1}
	want.DistEnv.TimeoutMinutes = 1
	want.RNG = RNG{Seed: 1111, Ranked: true}
	want.Model.PretrainedModelNameOrPath = "meta-llama/Llama-3.2-1B"
	want.PEFT.Scheme, want.PEFT.TargetModules, want.PEFT.Dim, want.PEFT.Alpha = "lora", []string{"*_proj"}, 16, 32
	want.Dataset.Kind, want.Dataset.PathOrID, want.Dataset.Split = "squad", "rajpurkar/squad", "train"
	want.Dataloader = Dataloader{BatchSize: 8}
	want.ValidationDataloader = Dataloader{BatchSize: 8}
	validation := defaultDataset("validation")
	validation.PathOrID, validation.LimitDatasetSamples = "rajpurkar/squad", 64
	want.ValidationDataset = map[string]Dataset{DefaultSet: validation}
	want.Optimizer = Optimizer{Name: "adam", LR: 1e-5, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, LoraPlusLRRatio: 1}
	want.LRScheduler = LRScheduler{Name: "constant"}
	want.ClipGradNorm.MaxNorm = 1
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLookupUnknown(t *testing.T) {
	_, err := Lookup("../demo")
	if err == nil || !strings.Contains(err.Error(), "there are demo, ") {
		t.Errorf("Lookup = %v, want the names there are", err)
	}
}
