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
	job, err := Prepare(r, asIs)
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
	job, err := Prepare(tinyRecipe(t, base, t.TempDir(), `peft.dim_pattern={ "*.q_prj" = 9 }`, `peft.alpha_pattern={ lm_head = 9 }`), asIs)
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
