package rank

import (
	"os"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/configs"
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

// TestBackend: what moves data between ranks is that of their devices.
func TestBackend(t *testing.T) {
	for _, c := range []struct {
		backend string
		cuda    bool
		fault   string
	}{
		{"auto", false, ""}, {"auto", true, ""}, {"host", false, ""}, {"nccl", true, ""},
		{"nccl", false, "this is the CPU"}, {"host", true, "this is an NVIDIA GPU"},
	} {
		r := configs.Default()
		r.DistEnv.Backend = c.backend
		err := (&Job{Recipe: r, Config: model.Config{Decoder: &spec.Decoder{HeadDim: 64}}}).Settle(c.cuda)
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "dist_env.backend")) {
			t.Errorf("%s, cuda %t: %v, want %q", c.backend, c.cuda, err, c.fault)
		}
	}
}

// TestPlaceGPU: a rank takes the GPU of its local rank, or the one that it alone is shown.
func TestPlaceGPU(t *testing.T) {
	for visible, want := range map[string]int{"": 3, "0,1,2,3": 3, "2": 0} {
		env := map[string]string{"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "3", "CUDA_VISIBLE_DEVICES": visible}
		if p, err := PlaceFrom(func(name string) string { return env[name] }); err != nil || p.GPU != want {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: GPU %d, %v, want %d", visible, p.GPU, err, want)
		}
	}
}

// TestIsolate: a process is shown the GPU of its rank alone, of those that it was shown.
func TestIsolate(t *testing.T) {
	for _, c := range []struct {
		visible string
		gpu     int
		want    string
	}{{"", 3, "3"}, {"4, 6", 1, "6"}, {"GPU-a,GPU-b", 1, "GPU-b"}, {"0,1", 2, ""}} {
		t.Setenv("CUDA_VISIBLE_DEVICES", c.visible)
		err := Device{GPU: c.gpu}.isolate()
		if got := os.Getenv("CUDA_VISIBLE_DEVICES"); c.want != "" && (err != nil || got != c.want) || c.want == "" && err == nil {
			t.Errorf("GPU %d of %q: %q, %v, want %q", c.gpu, c.visible, got, err, c.want)
		}
	}
}

// TestMockBase trains a mock base on mock data for a few steps, and refuses it other data.
func TestMockBase(t *testing.T) {
	r := BenchRecipe("mock:smollm2-135m", "f32", 1, 16)
	job := prepare(t, r)
	res, err := job.Bench(t.Context(), Options{Device: testDevice(t)}, Measurement{Warmup: 1, Steps: 2})
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
	if _, err := Prepare(t.Context(), r, asIs); err == nil || !strings.Contains(err.Error(), `dataset.kind = "mock"`) {
		t.Errorf("got %v", err)
	}
}
