package rank

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model"
	"gorun/model/spec"
)

// TestSettle settles attention for devices, dtypes and head sizes.
func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name      string
		attention string
		cuda      bool
		compute   dtypes.DType
		headDim   int
		flash     bool
		fault     string
	}{
		{"cpu", "auto", false, dtypes.BFloat16, 64, false, ""},
		{"gpu", "auto", true, dtypes.BFloat16, 64, true, ""},
		{"gpu, blockwise asked for", "blockwise", true, dtypes.BFloat16, 64, false, ""},
		{"gpu, float32", "auto", true, dtypes.Float32, 64, false, ""},
		{"gpu, wide heads", "auto", true, dtypes.BFloat16, 256, false, ""},
		{"gpu, odd heads", "cudnn", true, dtypes.BFloat16, 20, false, "multiples of 8"},
		{"cpu, cudnn asked for", "cudnn", false, dtypes.BFloat16, 64, false, "NVIDIA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := model.Config{Decoder: &spec.Decoder{HeadDim: c.headDim}, Compute: c.compute}
			err := settle(&cfg, c.cuda, c.attention, "auto")
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "model.attention") {
					t.Errorf("got %v, want %q", err, c.fault)
				}
				return
			}
			if err != nil || cfg.Flash != c.flash || (cfg.Target == model.CUDA) != c.cuda {
				t.Errorf("got flash %t, target %d, %v", cfg.Flash, cfg.Target, err)
			}
		})
	}
}

// TestMockBase trains a mock base on mock data for a few steps, and refuses it other data.
func TestMockBase(t *testing.T) {
	r := BenchRecipe("mock:smollm2-135m", "f32", 1, 16)
	job, err := Prepare(r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := job.Close(); err != nil {
			t.Error(err)
		}
	}()
	res, err := job.Bench(t.Context(), Options{Device: testDevice(t)}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Steps) != 2 || !(res.Best > 0) || !(res.Loss < res.FirstLoss) {
		t.Errorf("steps %v, loss %g to %g", res.Steps, res.FirstLoss, res.Loss)
	}
	calls := map[string]int{}
	for _, p := range res.Programs {
		calls[p.Name] = p.Calls
	}
	if layers := job.Base.Decoder.Layers; calls["forward"] != layers || calls["backward"] != layers || calls["loss"] != 1 {
		t.Errorf("calls of programs: %v", calls)
	}

	r.Dataset.Kind, r.Dataset.PathOrID = "squad", tinyData(t, 3)
	if _, err := Prepare(r, asIs); err == nil || !strings.Contains(err.Error(), `dataset.kind = "mock"`) {
		t.Errorf("got %v", err)
	}
}
