package model_test

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
	"gorun/tools/skip"
)

// TestKernels holds blocks whose pieces are kernels' to the same blocks without: losses and gradients, computed in
// bfloat16, are as near to those in float32 with the ones as with the others.
func TestKernels(t *testing.T) {
	dev := devicetest.WithKernels(t)
	all := model.Pieces{Norms: true, Rotary: true, Gated: true}
	for _, c := range []struct {
		name    string
		edit    func(*spec.Decoder)
		cfg     func(*model.Config)
		dim     int
		without string // adapters whose names have this are left out
		want    model.Pieces
	}{
		{name: "bias, a part of each head turned", dim: 4, want: all, edit: func(d *spec.Decoder) { d.QKVBias, d.HeadDim, d.Rope.Dim = true, 32, 16 }},
		{name: "dim 40, beyond the kernels", dim: 40, want: all},
		{name: "dim 24, no adapters of up, selective remat", dim: 24, without: "up_proj", cfg: func(c *model.Config) { c.Remat = model.RematSelective }, want: all},
		{name: "no adapters of gate and down, full remat", dim: 16, without: "gate_proj|down_proj", cfg: func(c *model.Config) { c.Remat = model.RematFull }, want: all},
		{name: "full fine-tuning", cfg: func(c *model.Config) { c.Full = true }, want: all},
		{name: "dropout", dim: 4, cfg: func(c *model.Config) { c.Dropout = 0.2 }, want: all},
		{name: "dropout behind B", dim: 5, cfg: func(c *model.Config) { c.Dropout, c.DropPost = 0.2, true }, want: all},
		{name: "fused linears", dim: 4, want: all, edit: func(d *spec.Decoder) { d.FusedQKV, d.FusedMLP = true, true }},
		{name: "norms of q and k", dim: 4, want: model.Pieces{Norms: true, Gated: true}, edit: func(d *spec.Decoder) { d.QKNorm = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.dim != 4 {
				skip.Because(t, "a few cases are enough for the short run")
			}
			d := tiny(func(d *spec.Decoder) {
				d.Layers, d.Hidden, d.Intermediate, d.HeadDim, d.Rope.Dim = 1, 24, 64, 64, 64
				if c.edit != nil {
					c.edit(d)
				}
			})
			cfg := model.Config{Decoder: d, Target: model.CUDA}
			if c.dim > 0 {
				cfg.Adapters = adapters(d, c.dim)
				for name := range cfg.Adapters {
					for part := range strings.SplitSeq(c.without, "|") {
						if part != "" && strings.Contains(name, part) {
							delete(cfg.Adapters, name)
						}
					}
				}
			}
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			x := batch(d, 2, 9, cfg.Dropout > 0)
			checkBesides(t, "without kernels", func(compute dtypes.DType, kernels bool) (float64, [][][]float32) {
				cfg := cfg
				cfg.Compute, cfg.Kernels = compute, kernels
				if refused := cfg.KernelsRefused(); kernels && refused != nil {
					t.Fatal(refused)
				}
				b := newBenchOn(t, dev, cfg)
				if got, err := cfg.Pieces(model.Shape{Rows: 2, Seq: 9}); kernels && (err != nil || got[0] != c.want) {
					t.Errorf("kernels compute %+v, want %+v, %v", got, c.want, err)
				}
				return b.run(x, true)
			})
		})
	}
}

// TestKernelsRefused finds pieces, devices and configurations without kernels.
func TestKernelsRefused(t *testing.T) {
	odd := tiny(func(d *spec.Decoder) { d.Hidden, d.Intermediate, d.HeadDim, d.Rope.Dim = 12, 24, 4, 4 })
	cfg := model.Config{Decoder: odd, Compute: dtypes.BFloat16, Target: model.CUDA, Kernels: true}
	pieces, err := cfg.Pieces(model.Shape{Rows: 2, Seq: 9})
	if err != nil || len(pieces) != odd.Layers || pieces[0] != (model.Pieces{}) {
		t.Errorf("of odd sizes kernels compute %+v, %v", pieces, err)
	}
	if err := cfg.KernelsRefused(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		want string
		edit func(*model.Config)
	}{
		{"NVIDIA", func(c *model.Config) { c.Target = model.CPU }},
		{"bfloat16", func(c *model.Config) { c.Compute = dtypes.Float32 }},
		{"tensor parallel", func(c *model.Config) { c.Split.Tensor.Parts = 2 }},
	} {
		cfg := cfg
		c.edit(&cfg)
		if err := cfg.KernelsRefused(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
