package model_test

import (
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/hlo"
	"gorun/model/safetensors"
	"gorun/model/spec"
	"gorun/tools/skip"
)

// float8Tolerance is how far gradients may be from the oracle's, relative to the tensor's length. Both round the same
// numbers to 8-bit floats, but for the few that lie so near the middle of two that float32's last bit decides. The rounding
// itself moves gradients by 3 to 10 %: TestFloat8 holds that too, else it would see nothing.
const float8Tolerance = 0.004

// On a GPU all sums are rounded otherwise before they are rounded to 8-bit floats, those of FP8 products coarsely: Hopper
// keeps some 14 bits while it adds (DeepSeek-AI 2024, arXiv:2412.19437, section 3.3.2). Numbers near the middle of two then
// fall on the other side, by an eighth of their size: rounding errors are drawn anew in part. So the bound for gradients is
// a part of what the rounding itself changes (an H100 was off by 0.2 to 0.34 of that); two draws that have nothing in common
// would differ by 1.4 times that. The loss was off by 0.002 of itself.
const (
	float8OnGPU     = 0.6
	float8LossOnGPU = 5e-3
)

// TestFloat8 holds a base in 8-bit floats to torch's (tools/oracle/float8.py), as written for the CPU and for GPUs.
func TestFloat8(t *testing.T) {
	dev := devicetest.OpenHasty(t)
	for _, file := range []string{"llama3", "phi3", "qwen2", "llama3_head"} {
		family, head := strings.CutSuffix(file, "_head")
		for _, target := range []model.Target{model.CPU, model.CUDA} {
			name := file
			if target == model.CUDA {
				name += ", as written for GPUs"
			}
			t.Run(name, func(t *testing.T) {
				g := openGolden(t, dev, family)
				tensors, _, err := safetensors.ReadAll(filepath.Join("testdata", "float8", file+".safetensors"))
				if err != nil {
					t.Fatal(err)
				}
				want := golden{values: map[string]safetensors.Tensor{}}
				for _, x := range tensors {
					want.values[x.Name] = x
				}
				b := g.bench(t, model.Config{Compute: dtypes.Float32, Adapters: g.adapters(), Target: target, Float8: true, Head8: head, Remat: model.RematSelective})
				loss, grads := b.run(g.batch(t, "plain"), true)
				tolerance := 2e-4
				if devicetest.GPU() {
					tolerance = float8LossOnGPU
				}
				if oracle := float64(want.floats(t, "loss")[0]); !(math.Abs(loss/oracle-1) < tolerance) {
					t.Errorf("loss %.7g, torch's %.7g", loss, oracle)
				}
				met, worst := 0, 0.0
				for i, group := range b.groups {
					for j, p := range group.Trainable() {
						met++
						oracle := want.floats(t, "grad."+p.Name)
						rounded := distance(g.floats(t, "plain.grad."+p.Name), oracle)
						if !(rounded > 4*float8Tolerance) {
							t.Errorf("%s: 8-bit floats make a difference of %.5f only: nothing is tested", p.Name, rounded)
						}
						tolerance := float8Tolerance
						if devicetest.GPU() {
							tolerance = float8OnGPU * rounded
						}
						off := distance(grads[i][j], oracle)
						if !(off < tolerance) {
							t.Errorf("%s is off by %.5f of its size, more than %.5f", p.Name, off, tolerance)
						}
						worst = max(worst, off/rounded)
					}
				}
				t.Logf("gradients are off by %.2f at most of what 8-bit floats change", worst)
				if met != len(tensors)-1 {
					t.Errorf("%d gradients, the oracle has %d", met, len(tensors)-1)
				}
			})
		}
	}
}

// TestFloat8Kernels holds blocks with a base in 8-bit floats whose pieces are kernels' to the same blocks without kernels,
// whether or not the backward pass has what the gated MLP's kernel needs to write its gradients narrow.
func TestFloat8Kernels(t *testing.T) {
	dev := devicetest.WithKernels(t)
	d := tiny(func(d *spec.Decoder) {
		d.Layers, d.Hidden, d.Intermediate, d.HeadDim, d.Rope.Dim, d.Vocab = 1, 24, 64, 64, 64, 24
	})
	x := batch(d, 2, 9, false)
	for name, cfg := range map[string]model.Config{
		"nothing again":   {Adapters: adapters(d, 4)},
		"selective remat": {Adapters: adapters(d, 4), Remat: model.RematSelective},
		"full remat":      {Adapters: adapters(d, 4), Remat: model.RematFull},
		"dim 40":          {Adapters: adapters(d, 40)},
		"with the head":   {Adapters: adapters(d, 4), Head8: true},
		"one copy":        {Adapters: adapters(d, 4), OneCopy: true},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "nothing again" {
				skip.Because(t, "one case is enough for the short run")
			}
			// Each way draws errors of its own where sums in bfloat16 are rounded to 8 bits, and here they are of a few numbers.
			checkWithin(t, 1.6, "without kernels", func(compute dtypes.DType, kernels bool) (float64, [][][]float32) {
				cfg := cfg
				cfg.Decoder, cfg.Target, cfg.Compute, cfg.Kernels, cfg.Float8 = d, model.CUDA, compute, kernels, true
				return newBenchOn(t, dev, cfg).run(x, true)
			})
		})
	}
}

// TestFloat8Refused finds configurations whose base cannot be in 8-bit floats.
func TestFloat8Refused(t *testing.T) {
	d := tiny(nil)
	good := model.Config{Decoder: d, Compute: dtypes.BFloat16, Adapters: adapters(d, 3), Float8: true}
	if err := good.Float8Refused(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		want string
		edit func(*model.Config)
	}{
		{"full fine-tuning", func(c *model.Config) { c.Full, c.Adapters = true, nil }},
		{"experts", func(c *model.Config) { c.Decoder = tiny(mixed) }},
		{"head is trained", func(c *model.Config) { c.Head8, c.Head = true, true }},
		{"DoRA", func(c *model.Config) {
			c.Adapters = adapters(d, 3)
			for name, a := range c.Adapters {
				a.DoRA = true
				c.Adapters[name] = a
			}
		}},
	} {
		cfg := good
		c.edit(&cfg)
		if _, err := model.New(nil, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// TestFloat8Ends finds the blocks at either end of a decoder as they are without 8-bit floats, and trains them with the rest.
func TestFloat8Ends(t *testing.T) {
	d := tiny(func(d *spec.Decoder) { d.Layers = 3 })
	cfg := model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3), Float8: true, Ends: 1}
	b := newBenchOn(t, devicetest.OpenHasty(t), cfg)
	for n, g := range b.groups[:d.Layers] {
		if got := slices.ContainsFunc(g.Params, func(p model.Param) bool { return p.Role == model.Turned }); got != (n == 1) {
			t.Errorf("block %d of 3, one at either end as it is: in 8-bit floats %t", n, got)
		}
	}
	if loss, _ := b.run(batch(d, 2, 9, false), true); !(loss > 0 && loss < 1e3) {
		t.Errorf("loss %v", loss)
	}
	w := b.upload()
	defer device.FreeAll(w...)
	dec, err := b.m.NewDecoding(1, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if logits, err := dec.Feed(params(w), []int32{3, 1}, []int32{0, 1}, []int32{1}); err != nil || len(logits) != d.Vocab {
		t.Errorf("%d logits: %v", len(logits), err)
	}
	cfg.Ends = 2
	if _, err := model.New(nil, cfg); err == nil || !strings.Contains(err.Error(), "none is left") {
		t.Errorf("2 of 3 blocks at either end: %v", err)
	}
}

// TestFloat8OneCopy: programs that take one copy of a weight give the bits of those that take both, whatever is computed
// again; the backward pass takes the forward pass's copy only of products that it computes again.
func TestFloat8OneCopy(t *testing.T) {
	dev := devicetest.OpenHasty(t)
	d := tiny(func(d *spec.Decoder) { d.Layers = 1 })
	x := batch(d, 2, 9, false)
	for remat, again := range map[model.Remat]int{model.RematNone: 0, model.RematSelective: 1, model.RematFull: 4} {
		cfg := model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3), Float8: true, Remat: remat}
		want, wantGrads := newBenchOn(t, dev, cfg).run(x, true)
		cfg.OneCopy = true
		b := newBenchOn(t, dev, cfg)
		if got, grads := b.run(x, true); got != want || !reflect.DeepEqual(grads, wantGrads) {
			t.Errorf("remat %d: loss %v, with both copies %v, or other gradients", remat, got, want)
		}
		both := 0
		for _, p := range b.groups[0].Params {
			switch {
			case p.Role == model.Turned:
				if p.For != model.Backward {
					t.Errorf("%s is for %d", p.Name, p.For)
				}
			case p.Role == model.Base && p.Shape.DType == hlo.E4M3 && p.For == model.Forward:
			case p.Role == model.Base && p.Shape.DType == hlo.E4M3:
				both++
			case p.For != model.Both:
				t.Errorf("%s is for %d", p.Name, p.For)
			}
		}
		if both != again {
			t.Errorf("remat %d: both passes take %d weights, want %d", remat, both, again)
		}
	}
}

// TestFloat8Chunks: the loss of a head in 8-bit floats over two chunks of logits, of ten rows that are the same, is ten times
// that of one, and so are the gradients.
func TestFloat8Chunks(t *testing.T) {
	d := tiny(func(d *spec.Decoder) { d.Layers = 1 })
	one := batch(d, 1, 60, false)
	ten := model.Batch{Rows: 10, Seq: one.Seq}
	for range ten.Rows {
		ten.IDs, ten.Positions, ten.Labels = append(ten.IDs, one.IDs...), append(ten.Positions, one.Positions...), append(ten.Labels, one.Labels...)
	}
	b := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3), Float8: true, Head8: true})
	want, wantGrads := b.run(one, true)
	got, grads := b.run(ten, true)
	if !(math.Abs(got/want/10-1) < 1e-5) {
		t.Errorf("loss %v of one row, %v of ten", want, got)
	}
	for i, g := range b.groups {
		for j, p := range g.Trainable() {
			for k := range wantGrads[i][j] {
				wantGrads[i][j][k] *= 10
			}
			if off := distance(grads[i][j], wantGrads[i][j]); !(off < float8Tolerance) {
				t.Errorf("%s is off by %.5f of its size", p.Name, off)
			}
		}
	}
}

// TestFloat8Memory finds two copies of the blocks' weights, of a byte each, in what a base takes.
func TestFloat8Memory(t *testing.T) {
	d := tiny(nil)
	cfg := model.Config{Decoder: d, Compute: dtypes.BFloat16, Adapters: adapters(d, 3)}
	base := func(float8 bool) int64 {
		cfg.Float8 = float8
		m, err := model.EstimateMemory(cfg, model.Shape{Rows: 1, Seq: 8, Loss: 8})
		if err != nil {
			t.Fatal(err)
		}
		return m.Base
	}
	units := int64(4 * 4 * d.Layers) // one float32 for each product
	if plain, float8 := base(false), base(true); float8 != plain+units {
		t.Errorf("the base takes %d bytes, in 8-bit floats %d", plain, float8)
	}
	sizes := map[int]bool{}
	m, err := model.New(nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Groups()[0].Params {
		if slices.Contains([]model.Role{model.Base, model.Turned}, p.Role) && len(p.Shape.Dims) == 2 {
			sizes[p.Shape.Bytes()/p.Shape.Size()] = true
		}
	}
	if len(sizes) != 1 || !sizes[1] {
		t.Errorf("weights take %v bytes a number", sizes)
	}
}
