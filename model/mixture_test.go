package model_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
)

// mixed gives the second block experts.
func mixed(d *spec.Decoder) {
	d.Mixture = &spec.Mixture{Experts: 3, PerToken: 2, Width: 6, Normalize: true, Plain: []bool{true, false}, Module: "mlp", Gate: "gate_proj", Up: "up_proj", Down: "down_proj"}
}

// TestIdleExperts: where all experts are equally likely every token goes to the first ones, and the model is that which has
// no others. One expert then has tokens for many blocks, another none.
func TestIdleExperts(t *testing.T) {
	dev := devicetest.OpenHasty(t)
	withExperts := func(experts int) *bench {
		d := tiny(func(d *spec.Decoder) { d.Layers = 1; mixed(d); d.Mixture.Plain, d.Mixture.Experts = nil, experts })
		return newBenchOn(t, dev, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)})
	}
	few, many := withExperts(2), withExperts(3)
	zeroRouter := func(b *bench) {
		for j, p := range b.groups[0].Params {
			if strings.HasSuffix(p.Name, "mlp.gate.weight") {
				clear(b.host[0][j])
			}
		}
	}
	zeroRouter(many)
	values := many.tensors(many.host)
	for g, group := range few.groups {
		for j, p := range group.Params {
			if len(p.Parts) > 1 || !strings.HasSuffix(p.Name, "mlp.gate.weight") {
				few.host[g][j] = values.read(t, p)
			}
		}
	}
	zeroRouter(few)
	x := batch(few.m.Config().Decoder, 1, 70, false)
	wantLoss, grads := few.run(x, true)
	loss, manyGrads := many.run(x, true)
	devicetest.AssertClose(t, "sum of losses", []float32{float32(loss)}, []float32{float32(wantLoss)}, 1e-6, 0)
	want, got := tensors{}, tensors{}
	for _, y := range []struct {
		b     *bench
		to    tensors
		grads [][][]float32
	}{{few, want, grads}, {many, got, manyGrads}} {
		for g, group := range y.b.groups {
			for j, p := range group.Trainable() {
				y.to.write(t, p, y.grads[g][j])
			}
		}
	}
	idle := 0
	for name, g := range got {
		values := decode(g, math.Float32frombits)
		if want[name] == nil {
			idle++
			if devicetest.MaxAbs(values) != 0 {
				t.Errorf("%s: a gradient of an expert without tokens", name)
			}
			continue
		}
		w := decode(want[name], math.Float32frombits)
		devicetest.AssertClose(t, name, values, w, 0, gradTol*devicetest.MaxAbs(w))
	}
	if idle != 6 {
		t.Errorf("%d gradients of the idle expert, want 6", idle)
	}
}

// checkTraining takes the golden steps of LoRA.
func (g *golden) checkTraining(t *testing.T) {
	k := &kind{golden: g, base: g.values}
	text, err := os.ReadFile(filepath.Join(g.Path, "curves.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &k.curves); err != nil {
		t.Fatal(err)
	}
	g.bench(t, model.Config{Compute: dtypes.Float32, Adapters: g.adapters()}).checkTraining(k)
}
