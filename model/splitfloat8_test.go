package model_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
)

// TestSplitFloat8: with a base in 8-bit floats parts find units of what they have, a whole model of all: that changes what
// falls off a format's lower end, and single numbers that are rounded the other way because sums are in another order. The
// bound is that of the oracle's test, a small part of what rounding to 8 bits itself changes.
func TestSplitFloat8(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Parts(t, 1)[0]
	d := tiny(func(d *spec.Decoder) { d.Layers = 1 })
	cfg := model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)}
	x := batch(d, 2, 16, false)
	wideLoss, wideGrads := newBenchOn(t, dev, cfg).run(x, true)
	cfg.Float8, cfg.Head8 = true, true
	b := newBenchOn(t, dev, cfg)
	wantLoss, grads := b.run(x, true)
	loss, got := newTeam(t, b, layout{2, 2, true}).run(t, x)
	if off, rounded := math.Abs(loss/wantLoss-1), math.Abs(wideLoss/wantLoss-1); !(off < 0.1*rounded) {
		t.Errorf("sum of losses %.7g, whole %.7g, in wider floats %.7g", loss, wantLoss, wideLoss)
	}
	var all, want, wide []float32
	for g, group := range b.groups {
		for j, p := range group.Trainable() {
			all, want, wide = append(all, decode(got[p.Name], math.Float32frombits)...), append(want, grads[g][j]...), append(wide, wideGrads[g][j]...)
		}
	}
	off, rounded := distance(all, want), distance(wide, want)
	if !(off < float8Tolerance) || !(rounded > 4*float8Tolerance) {
		t.Errorf("gradients are off by %.5f of their size; 8-bit floats change %.5f", off, rounded)
	}
}
