package model_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/hlo"
	"gorun/model/spec"
)

// tiny is a decoder with every feature that a block can have switched by its arguments.
func tiny(edit func(*spec.Decoder)) *spec.Decoder {
	d := &spec.Decoder{
		Family: "llama", Layers: 2, Hidden: 16, Intermediate: 24, Heads: 4, KVHeads: 2, HeadDim: 4, Vocab: 23,
		MaxPositions: 64, NormEps: 1e-5, Activation: "silu", Rope: spec.Rope{Theta: 100, Dim: 4, Kind: "default"},
	}
	if edit != nil {
		edit(d)
	}
	return d
}

func adapters(d *spec.Decoder, dim int) map[string]model.Adapter {
	out := map[string]model.Adapter{}
	for l := range d.Layers {
		for _, lin := range d.Linears(l) {
			out[lin.Name] = model.Adapter{Dim: dim, Scale: 2}
		}
	}
	return out
}

// bench holds a model with host parameters that a test may change.
type bench struct {
	t      *testing.T
	dev    *device.Client
	m      *model.Model
	host   [][][]float32
	groups []model.Group
}

func newBench(t *testing.T, cfg model.Config) *bench {
	t.Helper()
	return newBenchOn(t, devicetest.OpenHasty(t), cfg)
}

func newBenchOn(t *testing.T, dev *device.Client, cfg model.Config) *bench {
	t.Helper()
	cfg = onDevice(dev, cfg)
	m, err := model.New(dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{t: t, dev: dev, m: m, groups: m.Groups()}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, g := range b.groups {
		var list [][]float32
		for _, p := range g.Params {
			v := make([]float32, p.Shape.Size())
			for i := range v {
				v[i] = float32(rng.NormFloat64()) * 0.3
				if len(p.Shape.Dims) == 1 {
					v[i]++
				}
			}
			list = append(list, v)
		}
		b.host = append(b.host, list)
	}
	return b
}

// targetOf is the target of a device's platform.
func targetOf(platform string) model.Target {
	if platform == "cuda" {
		return model.CUDA
	}
	return model.CPU
}

// onDevice is the configuration with the programs that the device would get, unless it says itself that it wants a GPU's.
func onDevice(dev *device.Client, cfg model.Config) model.Config {
	if cfg.Target == model.CPU && targetOf(dev.Platform()) == model.CUDA {
		cfg.Target = model.CUDA
		cfg.Flash = cfg.FlashRefused() == nil
		cfg.Kernels = cfg.KernelsRefused() == nil && dev.KernelsRefused() == nil
	}
	return cfg
}

// upload sends all parameters to the device in their own dtype.
func (b *bench) upload() [][]*device.Buffer {
	b.t.Helper()
	var out [][]*device.Buffer
	for g, group := range b.groups {
		var list []*device.Buffer
		for i, p := range group.Params {
			data := b.host[g][i]
			var buf *device.Buffer
			var err error
			switch {
			case p.Role == model.Turned || p.Role == model.Unit: // made with the weight before
				continue
			case p.Shape.DType == hlo.E4M3:
				list = append(list, b.float8(data, p.Shape.Dims)...)
				continue
			}
			if p.Shape.DType == dtypes.BFloat16 {
				buf, err = device.FromSlice(b.dev, dtypes.BFloat16, toBF16(data), p.Shape.Dims...)
			} else {
				buf, err = device.FromSlice(b.dev, dtypes.Float32, data, p.Shape.Dims...)
			}
			if err != nil {
				b.t.Fatal(err)
			}
			list = append(list, buf)
		}
		out = append(out, list)
	}
	return out
}

// float8 is a weight in 8-bit floats, as three parameters.
func (b *bench) float8(data []float32, dims []int) []*device.Buffer {
	b.t.Helper()
	weight, err := device.FromSlice(b.dev, dtypes.Float32, data, dims...)
	if err != nil {
		b.t.Fatal(err)
	}
	made, err := b.m.Float8(weight)
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

func toBF16(v []float32) []uint16 {
	out := make([]uint16, len(v))
	for i, f := range v {
		bits := math.Float32bits(f)
		out[i] = uint16((bits + 0x7fff + (bits>>16)&1) >> 16)
	}
	return out
}

// run returns the sum of the losses and, if backward, all gradients by group in the order of Trainable.
func (b *bench) run(batch model.Batch, backward bool) (float64, [][][]float32) {
	b.t.Helper()
	w := b.upload()
	defer device.FreeAll(w...)
	root := w[len(w)-1]
	r := b.m.Begin(batch)
	r.Embed(root)
	for l := range b.m.Layers() {
		r.Forward(l, w[l])
	}
	loss, rootGrads := r.Loss(root)
	grads := make([][]*device.Buffer, len(w))
	for l := b.m.Layers() - 1; l >= 0 && backward; l-- {
		grads[l] = r.Backward(l, w[l])
	}
	if backward {
		grads[len(w)-1] = r.EmbedBackward(rootGrads)
	} else {
		for _, g := range rootGrads {
			g.Free()
		}
	}
	if err := r.End(); err != nil {
		b.t.Fatal(err)
	}
	defer loss.Free()
	v, err := loss.ToScalar()
	if err != nil {
		b.t.Fatal(err)
	}
	out := make([][][]float32, len(w))
	for g := range grads {
		for _, buf := range grads[g] {
			s, err := device.ToSlice[float32](buf)
			if err != nil {
				b.t.Fatal(err)
			}
			buf.Free()
			out[g] = append(out[g], s)
		}
	}
	return float64(v), out
}

// batch makes random rows, each of its own length, padded to seq; labels on the second half of each row.
func batch(d *spec.Decoder, rows, seq int, keys bool) model.Batch {
	rng := rand.New(rand.NewPCG(3, 4))
	b := model.Batch{Rows: rows, Seq: seq}
	for r := range rows {
		n := seq - r*2
		for i := range seq {
			b.Positions = append(b.Positions, int32(i))
			if i < n {
				b.IDs = append(b.IDs, int32(rng.IntN(d.Vocab)))
			} else {
				b.IDs = append(b.IDs, 0)
			}
			if i >= n/2 && i < n {
				b.Labels = append(b.Labels, int32(rng.IntN(d.Vocab)))
			} else {
				b.Labels = append(b.Labels, -100)
			}
		}
		if keys {
			b.Keys = append(b.Keys, rng.Uint32())
		}
	}
	return b
}

// TestGradients holds every hand-written backward pass against central differences of the forward pass.
func TestGradients(t *testing.T) {
	cases := map[string]struct {
		edit func(*spec.Decoder)
		cfg  model.Config
		seq  int
	}{
		"lora":          {},
		"full":          {cfg: model.Config{Full: true}},
		"full tied":     {cfg: model.Config{Full: true}, edit: func(d *spec.Decoder) { d.TiedHead = true }},
		"bias, qknorm":  {cfg: model.Config{Full: true}, edit: func(d *spec.Decoder) { d.QKVBias, d.OBias, d.MLPBias, d.QKNorm = true, true, true, true }},
		"fused":         {edit: func(d *spec.Decoder) { d.FusedQKV, d.FusedMLP = true, true }},
		"window":        {edit: func(d *spec.Decoder) { d.Window = []int{3, 0} }},
		"no rope":       {edit: func(d *spec.Decoder) { d.NoRope = []bool{false, true}; d.Rope.Dim = 2 }},
		"mixture, full": {edit: func(d *spec.Decoder) { mixed(d); d.Mixture.Normalize = false }, cfg: model.Config{Full: true, Remat: model.RematFull}, seq: 5},
		"selective":     {cfg: model.Config{Remat: model.RematSelective}},
		"remat":         {cfg: model.Config{Remat: model.RematFull}},
		"dropout":       {cfg: model.Config{Dropout: 0.3}},
		"dropout post":  {cfg: model.Config{Dropout: 0.3, DropPost: true}, edit: func(d *spec.Decoder) { d.FusedMLP = true }},
		"two blocks":    {seq: 140},
		"loop":          {seq: 128*17 + 5, edit: func(d *spec.Decoder) { d.Layers = 1 }},
		"loop, window":  {seq: 128*17 + 5, edit: func(d *spec.Decoder) { d.Layers = 1; d.Window = []int{100} }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := c.cfg
			cfg.Decoder, cfg.Compute = tiny(c.edit), dtypes.Float32
			if !cfg.Full {
				cfg.Adapters = adapters(cfg.Decoder, 3)
			}
			b := newBench(t, cfg)
			seq, rows := 9, 2
			if c.seq > 0 {
				seq, rows = c.seq, 1
			}
			x := batch(cfg.Decoder, rows, seq, cfg.Dropout > 0)
			loss, grads := b.run(x, true)
			rng := rand.New(rand.NewPCG(5, 6))
			for g, group := range b.groups {
				for j, p := range group.Trainable() {
					b.checkDirection(x, loss, g, p, grads[g][j], rng)
				}
			}
		})
	}
}

// checkDirection compares one parameter's gradient with the slope of the loss along a random direction; loss is where it
// begins.
func (b *bench) checkDirection(x model.Batch, loss float64, g int, p model.Param, grad []float32, rng *rand.Rand) {
	b.t.Helper()
	index := -1
	for i, q := range b.groups[g].Params {
		if q.Name == p.Name {
			index = i
		}
	}
	v := b.host[g][index]
	dir, want, size := make([]float32, len(v)), 0.0, 0.0
	for i := range dir {
		dir[i] = float32(rng.NormFloat64())
		want += float64(dir[i]) * float64(grad[i])
		size += float64(grad[i]) * float64(grad[i])
	}
	const h = 2e-3
	at := func(step float32) float64 {
		old := append([]float32(nil), v...)
		for i := range v {
			v[i] += step * dir[i]
		}
		loss, _ := b.run(x, false)
		copy(v, old)
		return loss
	}
	slope := (at(h) - at(-h)) / (2 * h)
	// The loss is a float32 sum: its rounding, over 2h, bounds how well a slope can be seen.
	noise := 3e-7 * math.Abs(loss) / h
	if tol := 0.02*math.Sqrt(size) + noise; math.Abs(slope-want) > tol {
		b.t.Errorf("%s %v: gradient says %.6g, differences say %.6g (tolerance %.2g)", p.Name, p.Shape, want, slope, tol)
	}
	if size == 0 {
		b.t.Errorf("%s: gradient is zero", p.Name)
	}
}

func Example_rotaryTable() {
	cos, sin := model.RotaryTable(spec.Rope{Theta: 10000, Dim: 4, Kind: "default"}, 2, 2)
	fmt.Printf("%.4f %.4f\n", cos, sin)
	// Output: [1.0000 1.0000 0.5403 0.9999] [0.0000 0.0000 0.8415 0.0100]
}

// params hands out a bench's uploaded parameters as fsdp's pass would.
type params [][]*device.Buffer

func (p params) Root() []*device.Buffer         { return p[len(p)-1] }
func (p params) Unshard(l int) []*device.Buffer { return p[l] }
func (p params) Reshard(int)                    {}

// TestDecoding feeds rows of different lengths and holds the log-probabilities of every next token against those of
// the training forward pass.
func TestDecoding(t *testing.T) {
	for name, edit := range map[string]func(*spec.Decoder){
		"plain":  nil,
		"window": func(d *spec.Decoder) { d.Window = []int{3, 0} },
		"qknorm": func(d *spec.Decoder) { d.QKNorm = true },
	} {
		t.Run(name, func(t *testing.T) {
			d := tiny(edit)
			b := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)})
			const rows, seq, prompt = 2, 9, 4
			x := batch(d, rows, seq, false)
			lengths := []int{prompt, prompt - 1}
			w := b.upload()
			defer device.FreeAll(w...)
			dec, err := b.m.NewDecoding(rows, 16)
			if err != nil {
				t.Fatal(err)
			}
			defer dec.Close()

			var ids, pos, last []int32
			for r := range rows {
				for i := range prompt {
					ids, pos = append(ids, x.IDs[r*seq+i]), append(pos, int32(i))
				}
				last = append(last, int32(lengths[r]-1))
			}
			logits, err := dec.Feed(params(w), ids, pos, last)
			for step := 0; err == nil; step++ {
				for r := range rows {
					at := lengths[r] + step
					if at < seq-r*2 {
						got := logProb(logits[r*d.Vocab:(r+1)*d.Vocab], x.IDs[r*seq+at])
						want := b.logProbAt(x, r, at)
						if math.Abs(got-want) > 1e-5*math.Max(1, math.Abs(want)) {
							t.Errorf("row %d position %d: decoding %.6f, training pass %.6f", r, at, got, want)
						}
					}
				}
				if step == 4 {
					break
				}
				ids, pos = ids[:0], pos[:0]
				for r := range rows {
					ids, pos = append(ids, x.IDs[r*seq+lengths[r]+step]), append(pos, int32(lengths[r]+step))
				}
				logits, err = dec.Feed(params(w), ids, pos, []int32{0, 0})
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func logProb(logits []float32, id int32) float64 {
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l - logits[id]))
	}
	return -math.Log(sum)
}

// logProbAt is the log-probability of the token at a position, from the loss of that position alone.
func (b *bench) logProbAt(x model.Batch, row, at int) float64 {
	for i := range x.Labels {
		x.Labels[i] = -100
	}
	x.Labels[row*x.Seq+at-1] = x.IDs[row*x.Seq+at]
	loss, _ := b.run(x, false)
	return -loss
}
