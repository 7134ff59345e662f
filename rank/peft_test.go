package rank

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
	"gorun/model/export"
)

// trained reads the adapter of a run's newest checkpoint.
func trainedAdapter(t *testing.T, dir string) map[string]export.Module {
	t.Helper()
	a, err := export.ReadPEFT(filepath.Join(dir, "LATEST"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]export.Module{}
	for _, m := range a.Modules {
		out[m.Name] = m
	}
	return out
}

// planOf is what a recipe's run says it will do.
func planOf(t *testing.T, r *configs.Recipe) string {
	t.Helper()
	job, err := Prepare(t.Context(), r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	var plan bytes.Buffer
	if err := errors.Join(job.Describe(&plan), job.Close()); err != nil {
		t.Fatal(err)
	}
	return plan.String()
}

// TestPatterns: linears with sizes of their own are trained, saved as PEFT would, resumed and planned.
func TestPatterns(t *testing.T) {
	base, dir := tinyBase(t), t.TempDir()
	r := tinyRecipe(t, base, dir, "peft.use_rslora=true", "step_scheduler.max_steps=1",
		`peft.dim_pattern={ "*.layers.1.*.v_proj" = 9, gate_proj = 2 }`, `peft.alpha_pattern={ down_proj = 3 }`)
	mustTrain(t, r)
	r.StepScheduler.MaxSteps = 2
	if out := mustTrain(t, r); !strings.Contains(out, "resuming from") {
		t.Errorf("resumed, it prints\n%s", out)
	}
	if plan := planOf(t, r); !strings.Contains(plan, "14 linears") || !strings.Contains(plan, "dim 2 to 9") {
		t.Errorf("the plan is\n%s", plan)
	}
	for name, m := range trainedAdapter(t, dir) {
		dim, alpha := 4, 8.0
		switch {
		case name == "model.layers.1.self_attn.v_proj":
			dim = 9
		case strings.HasSuffix(name, "gate_proj"):
			dim = 2
		case strings.HasSuffix(name, "down_proj"):
			alpha = 3
		}
		if m.Dim != dim || m.Alpha != alpha || len(m.A) != dim*m.In {
			t.Errorf("%s: dim %d, alpha %v, want %d and %v", name, m.Dim, m.Alpha, dim, alpha)
		}
	}
	if config := file(t, dir, "LATEST", export.ConfigFile); !bytes.Contains(config, []byte(`"rank_pattern": {
    "gate_proj": 2,
    "model.layers.1.self_attn.v_proj": 9
  }`)) {
		t.Errorf("the configuration is\n%s", config)
	}
	job, err := Prepare(t.Context(), tinyRecipe(t, base, t.TempDir(), `peft.dim_pattern={ "*.q_prj" = 9 }`, `peft.alpha_pattern={ lm_head = 9 }`), asIs)
	if err == nil {
		err = errors.Join(job.Close(), errors.New("accepted"))
	}
	for _, want := range []string{`peft: dim_pattern: "*.q_prj" matches none of the 14 linears`, `alpha_pattern: "lm_head" matches none`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestLoRAPlus: after one step of Adam B has moved so many times as far, and A, whose first gradient is zero, not at all.
func TestLoRAPlus(t *testing.T) {
	base, plain, plus := tinyBase(t), t.TempDir(), t.TempDir()
	mustTrain(t, tinyRecipe(t, base, plain, "step_scheduler.max_steps=1"))
	mustTrain(t, tinyRecipe(t, base, plus, "step_scheduler.max_steps=1", "optimizer.loraplus_lr_ratio=16"))
	want := trainedAdapter(t, plain)
	for name, got := range trainedAdapter(t, plus) {
		if !slices.Equal(got.A, want[name].A) {
			t.Errorf("%s: A differs", name)
		}
		for i, v := range got.B {
			if w := 16 * want[name].B[i]; math.Abs(float64(v-w)) > 1e-7 || w == 0 {
				t.Fatalf("%s: B[%d] is %g, want %g", name, i, v, w)
			}
		}
	}
}

// TestDoRA: an adapter with magnitudes and a trained embedding starts at the base, is stopped and resumed to the same
// bytes, is read as PEFT's, merged with its logits kept, and can be looked away from.
func TestDoRA(t *testing.T) {
	path, whole, parts := tinyBase(t), t.TempDir(), t.TempDir()
	more := []string{"peft.dropout=0", "peft.use_dora=true", "peft.modules_to_save=embed_tokens", "step_scheduler.max_steps=2", "validation_dataloader.batch_size=1"}
	r := tinyRecipe(t, path, whole, more...)
	if plan := planOf(t, r); !strings.Contains(plan, "DoRA on 14 linears") || !strings.Contains(plan, "and model.embed_tokens in full\n") {
		t.Errorf("the plan is\n%s", plan)
	}
	mustTrain(t, r)
	plain, none := t.TempDir(), strings.NewReplacer("use_dora=true", "use_dora=false", "modules_to_save=embed_tokens", "modules_to_save=[]")
	for i := range more {
		more[i] = none.Replace(more[i])
	}
	mustTrain(t, tinyRecipe(t, path, plain, more...))
	if a, b := losses(t, whole)[0], losses(t, plain)[0]; math.Abs(a/b-1) > 1e-5 {
		t.Errorf("DoRA starts at a loss of %v, the base's is %v", a, b)
	}
	r.Checkpoint.Dir = parts
	for r.StepScheduler.MaxSteps = 1; r.StepScheduler.MaxSteps <= 2; r.StepScheduler.MaxSteps++ {
		mustTrain(t, r)
	}
	if !bytes.Equal(file(t, parts, "LATEST", export.WeightsFile), file(t, whole, "LATEST", export.WeightsFile)) {
		t.Error("resumed: another adapter")
	}

	base, err := OpenBase(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	}()
	a, err := export.ReadPEFT(filepath.Join(whole, "LATEST"))
	if err != nil {
		t.Fatal(err)
	}
	if !a.DoRA() || len(a.Tables) != 2 || !a.Tied {
		t.Errorf("the adapter read back is DoRA %t, tables %d, tied %t", a.DoRA(), len(a.Tables), a.Tied)
	}
	report, err := Export(t.Context(), base, a, ExportOptions{Format: FormatHF, DType: "f32", Out: filepath.Join(t.TempDir(), "out"), MaxShard: 1 << 30, Device: testDevice(t)})
	if err != nil || report.Check.AdapterEffect < 100*report.Check.RelativeError {
		t.Errorf("merged: %+v, %v", report, err)
	}
	logits := func(s *Session) []float32 {
		t.Helper()
		out, err := s.Logits(t.Context(), []int32{5, 6, 7, 8, 9}, []int32{1, 4})
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(out...)
	}
	var got [2][]float32
	for i, from := range []*export.Adapter{a, nil} {
		s, err := OpenSession(testDevice(t), base, "f32", from)
		if err != nil {
			t.Fatal(err)
		}
		view, err := s.Bare()
		if err != nil {
			t.Fatal(err)
		}
		got[i] = logits(view)
		if err := errors.Join(view.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	devicetest.AssertClose(t, "without the adapter", got[0], got[1], 1e-5, 1e-5)
}

// TestModulesToSaveFaults: what cannot be trained in full is named with all else that is wrong.
func TestModulesToSaveFaults(t *testing.T) {
	job, err := Prepare(t.Context(), tinyRecipe(t, tinyBase(t), t.TempDir(), "peft.modules_to_save=lm_head,norm,embed_tokens,embed_tokens"), asIs)
	if err == nil {
		err = errors.Join(job.Close(), errors.New("accepted"))
	}
	for _, want := range []string{"this model's lm_head is its embedding", `"norm" cannot be trained in full`, `"embed_tokens" is named twice`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestDropoutPosition: where a recipe drops is where the model does.
func TestDropoutPosition(t *testing.T) {
	base := tinyBase(t)
	config := func(more ...string) (post bool, dropout float64) {
		c := prepare(t, tinyRecipe(t, base, t.TempDir(), more...)).Config
		return c.DropPost, c.Dropout
	}
	if post, p := config(); post || p != 0.1 {
		t.Errorf("by default: behind B %t, dropout %g", post, p)
	}
	if post, p := config("peft.dropout_position=post"); !post || p != 0.1 {
		t.Errorf("post: behind B %t, dropout %g", post, p)
	}
	if post, p := config("peft.dropout_position=post", "peft.scheme=none"); post || p != 0 {
		t.Errorf("without adapters: behind B %t, dropout %g", post, p)
	}
}
