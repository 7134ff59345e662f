package rank

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"gorun/configs"
)

// peakOf is the most that a run's first rank held on its device at once, as its records say, in bytes.
func peakOf(t *testing.T, dir string) (peak float64) {
	t.Helper()
	for _, s := range stepsOf(t, dir) {
		peak = max(peak, s.MemGiB*gib)
	}
	return peak
}

// plannedOf is what plan says of a recipe's fullest moment.
func plannedOf(t *testing.T, r *configs.Recipe, at Place, cuda bool) memory {
	t.Helper()
	job, err := PrepareAt(t.Context(), at, r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := job.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := job.Settle(cuda); err != nil {
		t.Fatal(err)
	}
	_, planned, err := job.fullest()
	if err != nil {
		t.Fatal(err)
	}
	return planned
}

// TestPlannedMemory: what 'gorun plan' says a rank's device will hold at the fullest moment of a step is within a tenth of
// what it comes to hold, whatever is trained and sharded; on a GPU with a model beside which the scratch memory of its
// libraries, for which nothing can be planned, is small, and with XLA's autotuning, on which the programs depend.
func TestPlannedMemory(t *testing.T) {
	base, dtype, rows, seq := tinyBaseOf(t, heavyConfig), "f32", 2, 32
	more := func(int) func(int) []string { return nil }
	if testDevice(t).CUDA {
		base, dtype, rows, seq = "mock:llama3.2-1b", "bf16", 8, 512
		t.Setenv("XLA_FLAGS", "")
		more = gpusOf(t)
	}
	for _, m := range []mesh{
		{name: "one rank", dp: 1, tp: 1},
		{name: "dp2", dp: 2, tp: 1},
		{name: "dp2 without reshard", dp: 2, tp: 1, set: []string{keep}},
		{name: "tp2 sp", dp: 1, tp: 2, set: []string{sequence}},
		{name: "dp4", dp: 4, tp: 1},
		{name: "dp2 in 8-bit floats", dp: 2, tp: 1, set: []string{"model.dtype=bf16", "peft.base_precision=fp8_all"}},
		{name: "dp2 in 8-bit floats, full remat", dp: 2, tp: 1, set: []string{"model.dtype=bf16", "peft.base_precision=fp8_all", "distributed.activation_checkpointing=full"}},
	} {
		for _, scheme := range []string{"lora", "none"} {
			if scheme == "none" && slices.Contains(m.set, "peft.base_precision=fp8_all") { // that is for a frozen base
				continue
			}
			t.Run(m.name+" "+scheme, func(t *testing.T) {
				m.cp = 1
				dir := t.TempDir()
				r := BenchRecipe(base, dtype, rows, seq)
				r.Dataset.NumSamples = 2 * rows * m.dp
				set := append([]string{"peft.scheme=" + scheme, "step_scheduler.max_steps=2", fmt.Sprint("distributed.tp_size=", m.tp), fmt.Sprintf("logging.dir=%q", dir)}, m.set...)
				var text bytes.Buffer
				if err := r.Write(&text); err != nil {
					t.Fatal(err)
				}
				r, err := configs.Parse("test", text.Bytes(), set)
				if err != nil {
					t.Fatal(err)
				}
				planned := plannedOf(t, r, Place{World: m.world()}, testDevice(t).CUDA)
				ranks := startRanks(t, r, m.world(), more(m.world()))
				for i, err := range await(t, ranks) {
					if err != nil {
						t.Fatalf("rank %d: %v\n%s", i, err, ranks[i].stderr.String())
					}
				}
				held := peakOf(t, dir)
				off := float64(planned.total())/held - 1
				t.Logf("%.1f MiB, planned %+.1f %% of that", held/(1<<20), 100*off)
				if !(math.Abs(off) < 0.1) {
					t.Errorf("planned %d bytes: %s", planned.total(), planned)
				}
			})
		}
	}
}

// TestPlannedSeen holds what plan says of a GPU's memory to within 5 % of what XLA's allocator came to on an H100
// (bench/results/2026-11-25-h100-step.md), without one.
func TestPlannedSeen(t *testing.T) {
	for name, c := range map[string]struct {
		base, scheme string
		rows, seq    int
		seen         float64 // GiB
	}{
		"Llama-3.2-1B":          {"mock:llama3.2-1b", "lora", 8, 512, 6.53},
		"Llama-3.2-1B, in full": {"mock:llama3.2-1b", "none", 8, 512, 20.09},
		"Llama-3-8B":            {"mock:llama3-8b", "lora", 2, 4096, 40.08},
	} {
		r := BenchRecipe(c.base, "bf16", c.rows, c.seq)
		r.PEFT.Scheme = c.scheme
		m := plannedOf(t, r, Place{}, true)
		if got := float64(m.total()) / gib; math.Abs(got/c.seen-1) > 0.05 {
			t.Errorf("%s: plan says %.2f GiB (%s), an H100 %.2f", name, got, m, c.seen)
		}
	}
}
