package rank

import (
	"errors"
	"testing"

	"gorun/model"
)

// TestKernelsOfJob holds what gorun plan says of kernels to devices and recipes.
func TestKernelsOfJob(t *testing.T) {
	for _, c := range []struct {
		name, dtype, kernels string
		cuda                 bool
		want                 string
	}{
		{"gpu", "bf16", "auto", true, "norms, rotary, gated MLP, optimizer"},
		{"gpu, without", "bf16", "none", true, "none (model.kernels)"},
		{"gpu, float32", "f32", "auto", true, "none (kernels are for bfloat16, not Float32)"},
		{"cpu", "bf16", "auto", false, "none (they are for NVIDIA GPUs)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := BenchRecipe("mock:smollm2-135m", c.dtype, 1, 16)
			r.Model.Kernels = c.kernels
			job, err := Prepare(t.Context(), r, asIs)
			if err != nil {
				t.Fatal(err)
			}
			err = job.Settle(c.cuda)
			got := job.kernels(model.Shape{Rows: 1, Seq: 16})
			if err := errors.Join(err, job.Close()); err != nil {
				t.Error(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
