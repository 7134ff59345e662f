package model_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/model/spec"
)

// curve is what ten steps of training must give.
type curve []struct {
	Loss float64
	Norm float64 `json:"grad_norm"`
}

// kind is a golden adapter of some kind on the base of a family (tools/oracle/kinds.py).
type kind struct {
	*golden // the base's batches; values are the kind's own
	base    map[string]safetensors.Tensor
	curves  struct {
		Base    string
		Adapter float64
		Ratio   float64 `json:"loraplus_lr_ratio"`
		LoRA    curve
	}
}

func openKind(t *testing.T, dev *device.Client, name string) *kind {
	t.Helper()
	dir, k := filepath.Join("testdata", "kinds", name), &kind{}
	text, err := os.ReadFile(filepath.Join(dir, "curves.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &k.curves); err != nil {
		t.Fatal(err)
	}
	k.golden = openGolden(t, dev, k.curves.Base)
	k.base, k.values = k.values, map[string]safetensors.Tensor{}
	tensors, _, err := safetensors.ReadAll(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tensors {
		k.values[x.Name] = x
	}
	if k.adapter, err = export.ReadPEFT(filepath.Join(dir, "adapter")); err != nil {
		t.Fatal(err)
	}
	if err := k.adapter.Fits(k.Decoder); err != nil {
		t.Fatal(err)
	}
	return k
}

// config trains the adapter.
func (k *kind) config() model.Config {
	head := k.adapter.Table(spec.HeadTensor) != nil && !k.Decoder.TiedHead
	return model.Config{Compute: dtypes.Float32, Adapters: k.adapters(), RateB: k.curves.Ratio, Embed: k.adapter.Table(spec.EmbedTensor) != nil, Head: head}
}

// padded is the base's padded batch.
func (k *kind) padded(t *testing.T) model.Batch {
	t.Helper()
	g := *k.golden
	g.values = k.base
	return g.batch(t, "padded")
}

// TestKinds holds every kind of adapter to PEFT: logits, losses, gradients and ten steps of training; one of them with
// the programs that GPUs get, and all computed again in the backward pass.
func TestKinds(t *testing.T) {
	asShipped, hasty := devicetest.Open(t), devicetest.OpenHasty(t)
	entries, err := os.ReadDir(filepath.Join("testdata", "kinds"))
	if err != nil || len(entries) != 5 {
		t.Fatalf("goldens of %d kinds (%v), want 5", len(entries), err)
	}
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			dev := hasty
			if entry.Name() == "dora" { // what is least like plain LoRA
				dev = asShipped
			}
			k := openKind(t, dev, entry.Name())
			x, cfg := k.padded(t), k.config()
			if entry.Name() == "dora_fused" {
				cfg.Remat, cfg.Target = model.RematFull, model.CUDA
			}
			b := k.bench(t, cfg)
			loss, grads := b.run(x, true)
			checkLoss(t, "padded", loss, k.curves.Adapter)
			b.checkGradients(k.golden, "grad.", grads)
			devicetest.AssertClose(t, "log-probabilities", b.score(x), k.labelLogProbs(t, x, "logits"), devicetest.RTol32, devicetest.ATol32)
			b.checkTraining(k)
		})
	}
}

// TestKindsSplit holds every kind, split over devices, to itself on one.
func TestKindsSplit(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Parts(t, 1)[0]
	for name, l := range map[string]layout{"dora": {2, 1, true}, "dora_fused": {2, 1, false}, "saved_tied": {2, 1, true}} {
		t.Run(name, func(t *testing.T) {
			k := openKind(t, dev, name)
			k.bench(t, k.config()).checkSplit(t, l, k.padded(t))
		})
	}
}

// TestDoRAFaults: what DoRA and trained tables cannot go with is refused.
func TestDoRAFaults(t *testing.T) {
	d := tiny(func(d *spec.Decoder) { d.TiedHead = true })
	a := adapters(d, 3)
	for name := range a {
		a[name] = model.Adapter{Dim: 3, Scale: 1, DoRA: true}
	}
	for want, cfg := range map[string]model.Config{
		"DoRA with dropout 0.1":     {Adapters: a, Dropout: 0.1},
		"the head is the embedding": {Adapters: a, Head: true},
	} {
		cfg.Decoder, cfg.Compute = d, dtypes.Float32
		if _, err := model.New(nil, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// checkTraining takes the golden steps and holds losses, norms and the trained parameters after them to the golden ones.
func (b *bench) checkTraining(k *kind) {
	b.t.Helper()
	ids, labels := k.base["steps_ids"], k.base["steps_labels"]
	word := func(w uint32) int32 { return int32(w) }
	allIDs, allLabels := decode(ids.Data, word), decode(labels.Data, word)
	micro, rows, seq := ids.Shape[1], ids.Shape[2], ids.Shape[3]
	opt := newTestAdamW(b)
	for step, want := range k.curves.LoRA {
		var grads [][][]float32
		loss, valid := 0.0, 0
		for m := range micro {
			at := (step*micro + m) * rows * seq
			x := model.Batch{Rows: rows, Seq: seq, IDs: allIDs[at : at+rows*seq], Labels: allLabels[at : at+rows*seq]}
			for i := range x.IDs {
				x.Positions = append(x.Positions, int32(i%seq))
				if x.Labels[i] != -100 {
					valid++
				}
			}
			l, g := b.run(x, true)
			loss, grads = loss+l, sumGradients(grads, g)
		}
		devicetest.AssertClose(b.t, fmt.Sprintf("step %d: loss", step), []float32{float32(loss / float64(valid))}, []float32{float32(want.Loss)}, 1e-4, 0)
		norm := opt.step(grads, valid)
		devicetest.AssertClose(b.t, fmt.Sprintf("step %d: norm", step), []float32{float32(norm)}, []float32{float32(want.Norm)}, 1e-3, 0)
	}
	for i, group := range b.groups {
		for j, p := range group.Params {
			if !p.Trainable {
				continue
			}
			got := b.host[i][j]
			width := len(got) / p.Shape.Dims[0]
			for _, part := range p.Parts {
				// Adam's first steps are of the size of the rate whatever the gradient's, so that rounding may turn
				// those of elements whose gradient is next to nothing.
				devicetest.AssertClose(b.t, "final."+part.Tensor, got[:part.Rows*width], k.floats(b.t, "final."+part.Tensor), 1e-3, 2e-4)
				got = got[part.Rows*width:]
			}
		}
	}
}

// sumGradients adds two sets of gradients; nil is none.
func sumGradients(a, b [][][]float32) [][][]float32 {
	if a == nil {
		return b
	}
	for i := range b {
		for j := range b[i] {
			for n, v := range b[i][j] {
				a[i][j][n] += v
			}
		}
	}
	return a
}

// testAdamW updates a bench's parameters with the programs that training uses.
type testAdamW struct {
	b      *bench
	maths  *model.Maths
	m1, m2 [][]float32 // of trained parameters, in order
	steps  int
}

func newTestAdamW(b *bench) *testAdamW {
	o := &testAdamW{b: b, maths: b.m.Maths(model.Optimizer{Decoupled: true, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01})}
	for _, group := range b.groups {
		for _, p := range group.Trainable() {
			o.m1, o.m2 = append(o.m1, make([]float32, p.Shape.Size())), append(o.m2, make([]float32, p.Shape.Size()))
		}
	}
	return o
}

// step applies the gradients, sums over valid tokens, clipped to norm 1, and returns the norm of their mean.
func (o *testAdamW) step(grads [][][]float32, valid int) float64 {
	t, dev := o.b.t, o.b.dev
	t.Helper()
	var params []model.Param
	var values, flat [][]float32
	squares := 0.0
	for i, group := range o.b.groups {
		n := 0
		for j, p := range group.Params {
			if p.Trainable {
				params, values, flat = append(params, p), append(values, o.b.host[i][j]), append(flat, grads[i][n])
				for _, g := range grads[i][n] {
					squares += float64(g) * float64(g)
				}
				n++
			}
		}
	}
	norm := math.Sqrt(squares) / float64(valid)
	upload := func(list [][]float32) (out []*device.Buffer) {
		for i, p := range params {
			buf, err := device.FromSlice(dev, dtypes.Float32, list[i], p.Shape.Dims...)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, buf)
		}
		return out
	}
	rates := make([]float64, len(params))
	for i, p := range params {
		rates[i] = p.Rate
	}
	o.steps++
	hyper, err := o.maths.Hyper(o.steps, 1e-3)
	if err != nil {
		t.Fatal(err)
	}
	scale, err := dev.Scalar(float32(math.Min(1, 1/(norm+1e-6)) / float64(valid)))
	if err != nil {
		t.Fatal(err)
	}
	g := upload(flat)
	p, m1, m2, err := o.maths.Update(upload(values), upload(o.m1), upload(o.m2), g, rates, hyper, scale)
	if err != nil {
		t.Fatal(err)
	}
	for i := range params {
		for _, x := range []struct {
			from *device.Buffer
			to   []float32
		}{{p[i], values[i]}, {m1[i], o.m1[i]}, {m2[i], o.m2[i]}} {
			v, err := device.ToSlice[float32](x.from)
			if err != nil {
				t.Fatal(err)
			}
			copy(x.to, v)
		}
	}
	device.FreeAll(p, m1, m2, g, []*device.Buffer{hyper, scale})
	return norm
}
