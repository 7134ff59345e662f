package rank

import (
	"path/filepath"
	"testing"

	"gorun/rank/data"
)

// TestPeaks: the name of a GPU tells its peak, and a longer name is not taken for a shorter one.
func TestPeaks(t *testing.T) {
	for kind, want := range map[string]float64{
		"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA H100 NVL": 835e12, "NVIDIA H200": 989e12,
		"NVIDIA GH200 480GB": 989e12, "NVIDIA A100-SXM4-80GB": 312e12, "NVIDIA L40S": 362e12, "NVIDIA L40": 181e12, "NVIDIA L4": 121e12,
		"NVIDIA GeForce RTX 4090": 0, "cpu": 0,
	} {
		if got := peakFLOPs(kind); got != want {
			t.Errorf("%s: %g FLOP/s, want %g", kind, got, want)
		}
	}
}

// TestMeter: two ranks that share a micro-batch have half of its tokens each; what is done of the peak is the FLOPs of each
// micro-batch's own length, and not told of float32.
func TestMeter(t *testing.T) {
	step := &data.Step{Micro: []data.Batch{{Rows: 2, Seq: 10}, {Rows: 2, Seq: 30}}}
	base := tinyBase(t)
	job := prepareFor(t, Place{World: 2}, tinyRecipe(t, base, filepath.Join(t.TempDir(), "run"), "model.dtype=bf16", "distributed.tp_size=2"))
	adapter := job.trainedParams()
	const peak = 989e12
	flops := 10*job.Base.Decoder.FLOPsPerToken(10, adapter) + 30*job.Base.Decoder.FLOPsPerToken(30, adapter)
	tokS, mfu := job.meter("NVIDIA H100 80GB HBM3").read(step, 0.5)
	if want := flops / 0.5 / peak; tokS != 80 || mfu < 0.999*want || mfu > 1.001*want {
		t.Errorf("%g tok/s, %g of the peak, want 80 and %g", tokS, mfu, want)
	}
	if _, mfu := job.meter("some other device").read(step, 0.5); mfu != 0 {
		t.Errorf("%g of a peak that is not known", mfu)
	}
	alone := prepareFor(t, Place{}, tinyRecipe(t, base, filepath.Join(t.TempDir(), "run")))
	if tokS, mfu := alone.meter("NVIDIA H100 80GB HBM3").read(step, 0.5); tokS != 160 || mfu != 0 {
		t.Errorf("alone in float32: %g tok/s, %g of the peak, want 160 and 0", tokS, mfu)
	}
}
