package rank

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"gorun/csrc/device/devicetest"
	"gorun/tools/skip"
)

// narrow has the base, and the head in training, in 8-bit floats.
var narrow = scheme{"fp8", []string{"model.dtype=bf16", "peft.base_precision=fp8_all", "optimizer.lr=1e-4", "clip_grad_norm.max_norm=0"}, lora.file}

// drift is how far a loss may be from one rank's in ten steps of bfloat16 where sums are in another order: now and then a
// number of an adapter is rounded the other way for it, to one that is 1/256 off, and what is made of it, to 8 bits, 1/16.
const drift = 5e-3

// TestFloat8Meshes: ranks that shard a base in 8-bit floats train as one rank does that has all of it. Each rounds what one
// rank rounds, in the same units: a sum of two micro-batches is the same sum on two ranks, and so are all bits of the run,
// with shards in host memory too. Of more micro-batches sums are in another order, and losses agree to 1e-6 until that has
// turned a rounding. Ranks that divide a row's tokens have units of what they have: the first loss agrees. Those that divide
// products add up what is rounded to bfloat16; model's TestSplitFloat8 holds these in float32.
func TestFloat8Meshes(t *testing.T) {
	skip.InShort(t, "a base in 8-bit floats on several ranks, in processes")
	devicetest.CPUOnly(t)
	base, alone := tinyBaseOf(t, unevenConfig), map[int]string{}
	set := append(slices.Clone(narrow.set), val)
	for _, c := range []struct {
		mesh
		exact int // losses that agree to 1e-6
	}{
		{mesh{"dp2 offloaded", 2, 1, 1, 2, 1, []string{offload}}, 10},
		{mesh{"dp3 uneven", 3, 1, 1, 2, 1, []string{keep}}, 4}, // 3 divides no size
		{mesh{"hsdp2x2", 4, 1, 1, 2, 1, []string{hsdp}}, 4},
		{mesh{"cp2", 1, 2, 1, 2, 4, nil}, 1},
		{mesh{"tp2 sp", 1, 1, 2, 2, 4, []string{sequence}}, 0},
	} {
		one := c.one()
		if alone[one.acc] == "" {
			alone[one.acc] = one.train(t, base, set...)
		}
		t.Run(c.name, func(t *testing.T) {
			dir, whole := c.train(t, base, set...), alone[one.acc]
			got, want := losses(t, dir), losses(t, whole)
			if len(got) != len(want) || len(want) != 10 {
				t.Fatalf("%d and %d losses", len(got), len(want))
			}
			for i := range want {
				tolerance := drift
				if i < c.exact {
					tolerance = 1e-6
				}
				if off := got[i]/want[i] - 1; !(math.Abs(off) <= tolerance) {
					t.Errorf("step %d: loss %.9g, one rank's %.9g (%.2g apart)", i+1, got[i], want[i], off)
				}
			}
			if c.exact < len(want) {
				return
			}
			closeLosses(t, validations(t, dir), validations(t, whole))
			if !bytes.Equal(file(t, dir, "LATEST", narrow.file), file(t, whole, "LATEST", narrow.file)) {
				t.Error("another adapter")
			}
		})
	}
}

// TestFloat8Elsewhere: a run with a base in 8-bit floats that was begun on two ranks that shard it goes on on one, and ends
// on two that do not, as if it had been on one all along: a checkpoint has nothing of how the base is kept.
func TestFloat8Elsewhere(t *testing.T) {
	skip.InShort(t, "a run resumed on other numbers of ranks, in processes")
	devicetest.CPUOnly(t)
	base := tinyBaseOf(t, unevenConfig)
	legs := []mesh{{"", 2, 1, 1, 2, 1, nil}, {"", 1, 1, 1, 2, 2, nil}, {"", 2, 1, 1, 2, 1, []string{hsdp, keep}}}
	whole, parts := legs[1].train(t, base, narrow.set...), t.TempDir()
	for i, end := range []int{3, 6, 10} {
		r := legs[i].recipe(t, base, parts, narrow.set...)
		r.StepScheduler.MaxSteps = end
		trainOn(t, r, legs[i].world())
	}
	closeLosses(t, losses(t, parts), losses(t, whole))
	if !bytes.Equal(file(t, parts, "LATEST", narrow.file), file(t, whole, "LATEST", narrow.file)) {
		t.Error("another adapter")
	}
}

// TestFloat8Held: a rank's shards of a base in 8-bit floats take what those in bfloat16 do, since weights are there twice, and
// what is gathered for a pass, or copied from host memory, half.
func TestFloat8Held(t *testing.T) {
	base := tinyBaseOf(t, heavyConfig)
	total := func(set ...string) (h held) {
		t.Helper()
		r := tinyRecipe(t, base, t.TempDir(), append(set, "model.dtype=bf16")...)
		job, err := PrepareAt(t.Context(), Place{World: 2, Addr: "127.0.0.1:1"}, r, asIs)
		if err != nil {
			t.Fatal(err)
		}
		groups, _, err := job.held()
		if err != nil {
			t.Fatal(err)
		}
		if err := job.Close(); err != nil {
			t.Fatal(err)
		}
		for _, g := range groups[:len(groups)-1] {
			h.frozen += g.frozen
			h.whole += g.whole - g.grads
			h.copied += g.copied
		}
		return h
	}
	wide := total()
	got := total("peft.base_precision=fp8_all")
	units := int64(12 * 4 * 4)
	if got.frozen != wide.frozen+units {
		t.Errorf("shards take %d bytes, in bfloat16 %d", got.frozen, wide.frozen)
	}
	for what, x := range map[string][2]int64{"gathered": {got.whole, wide.whole}, "copied": {got.copied, wide.copied}} {
		if r := float64(x[0]) / float64(x[1]); !(r < 0.51) || x[0] == 0 {
			t.Errorf("%s for a backward pass are %d bytes, %.2f of those in bfloat16", what, x[0], r)
		}
	}
	full := total("peft.base_precision=fp8_all", remat)
	if r := float64(full.whole) / float64(wide.whole); !(r > 0.99 && r < 1.01) {
		t.Errorf("where all is computed again, gathered are %.2f of the bytes in bfloat16: both copies are as many", r)
	}
}
