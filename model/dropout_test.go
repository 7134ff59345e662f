package model_test

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/safetensors"
	"gorun/model/spec"
)

// TestDropout holds dropout before A and behind B to torch, with masks that tools/oracle/dropout.py drew by itself.
func TestDropout(t *testing.T) {
	list, _, err := safetensors.ReadAll(filepath.Join("testdata", "dropout", "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	g := openGolden(t, devicetest.OpenHasty(t), "llama2")
	x := g.batch(t, "padded")
	g.values = map[string]safetensors.Tensor{}
	for _, tensor := range list {
		g.values[tensor.Name] = tensor
	}
	x.Keys = decode(g.tensor(t, "keys", dtypes.Int32).Data, func(w uint32) uint32 { return w })
	for name, c := range map[string]struct {
		prefix string
		cfg    model.Config
	}{
		"before A":                      {"pre", model.Config{}},
		"behind B":                      {"post", model.Config{DropPost: true}},
		"behind B, as written for GPUs": {"post", model.Config{DropPost: true, Target: model.CUDA, Remat: model.RematFull}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.cfg
			cfg.Compute, cfg.Adapters, cfg.Dropout = dtypes.Float32, g.adapters(), 0.3
			b := g.bench(t, cfg)
			loss, grads := b.run(x, true)
			checkLoss(t, name, loss, float64(g.floats(t, c.prefix+".loss")[0]))
			b.checkGradients(g, c.prefix+".grad.", grads)
		})
	}
}

// TestDropPost: with DropPost each number that an adapter gives is there, scaled up, or not; so with one such number that
// a loss depends on the loss is one of two, as often as the probability says. Before A it would be one of 2^24.
func TestDropPost(t *testing.T) {
	const p, row, keys = 0.25, 5, 60
	d := tiny(func(d *spec.Decoder) { d.Layers = 1 })
	down := "model.layers.0.mlp.down_proj"
	b := newBench(t, model.Config{
		Decoder: d, Compute: dtypes.Float32, Dropout: p, DropPost: true, Adapters: map[string]model.Adapter{down: {Dim: 3, Scale: 2}},
	})
	x := batch(d, 1, 4, false)
	for i := range x.Labels[:3] {
		x.Labels[i] = -100 // what other tokens drop counts nothing
	}
	loss := func(scale float32) float64 {
		for i, param := range b.groups[0].Params {
			if param.Name != down+".lora_B.weight" {
				continue
			}
			clear(b.host[0][i])
			for j := range 3 {
				b.host[0][i][3*row+j] = scale * float32(j+1)
			}
		}
		sum, _ := b.run(x, false)
		return sum
	}
	without, with := loss(0), loss(1/(1-p))
	if math.Abs(with-without) < 1e-3 {
		t.Fatalf("the adapter hardly counts: %g with, %g without", with, without)
	}
	dropped := 0
	for key := range uint32(keys) {
		x.Keys = []uint32{key}
		switch got := loss(1); {
		case math.Abs(got-without) < 1e-5:
			dropped++
		case math.Abs(got-with) > 1e-5:
			t.Errorf("key %d: the loss is %g, want %g or %g", key, got, without, with)
		}
	}
	if share := float64(dropped) / keys; math.Abs(share-p) > 0.2 {
		t.Errorf("%.2f of the numbers are dropped, want about %.2f", share, p)
	}
}
