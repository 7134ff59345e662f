package model_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/export"
	"gorun/model/safetensors"
	"gorun/model/weights"
)

// golden is a tiny model of one family with what transformers and PEFT make of it (tools/oracle/golden.py).
type golden struct {
	*weights.Model
	dev     *device.Client
	adapter *export.Adapter
	values  map[string]safetensors.Tensor
	sums    map[string]struct{ Base, Adapter float64 } // by case: sums of the losses
}

// cases are the batches of golden.safetensors.
var cases = []string{"plain", "padded"}

func TestMain(m *testing.M) { devicetest.Main(m) }

func openGolden(t *testing.T, dev *device.Client, family string) *golden {
	t.Helper()
	dir := filepath.Join("testdata", "golden", family)
	g := &golden{dev: dev, values: map[string]safetensors.Tensor{}}
	var err error
	if g.Model, err = weights.Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	if g.adapter, err = export.ReadPEFT(filepath.Join(dir, "adapter")); err != nil {
		t.Fatal(err)
	}
	tensors, _, err := safetensors.ReadAll(filepath.Join(dir, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tensors {
		g.values[x.Name] = x
	}
	text, err := os.ReadFile(filepath.Join(dir, "curves.json"))
	if err != nil {
		t.Fatal(err)
	}
	var curves struct {
		Sums map[string]struct{ Base, Adapter float64 }
	}
	if err := json.Unmarshal(text, &curves); err != nil {
		t.Fatal(err)
	}
	g.sums = curves.Sums
	return g
}

// decode turns little-endian words into values.
func decode[T any](data []byte, of func(uint32) T) []T {
	out := make([]T, len(data)/4)
	for i := range out {
		out[i] = of(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

func (g *golden) tensor(t *testing.T, name string, dtype dtypes.DType) safetensors.Tensor {
	t.Helper()
	x, ok := g.values[name]
	if !ok || x.DType != dtype {
		t.Fatalf("golden.safetensors has no %s %s", dtype, name)
	}
	return x
}

func (g *golden) floats(t *testing.T, name string) []float32 {
	t.Helper()
	return decode(g.tensor(t, name, dtypes.Float32).Data, math.Float32frombits)
}

// batch is the micro-batch of a case.
func (g *golden) batch(t *testing.T, c string) model.Batch {
	t.Helper()
	ids := g.tensor(t, c+".ids", dtypes.Int32)
	word := func(w uint32) int32 { return int32(w) }
	b := model.Batch{Rows: ids.Shape[0], Seq: ids.Shape[1], IDs: decode(ids.Data, word)}
	b.Labels = decode(g.tensor(t, c+".labels", dtypes.Int32).Data, word)
	for i := range b.IDs {
		b.Positions = append(b.Positions, int32(i%b.Seq))
	}
	return b
}

// adapters is the adapter as the model's configuration wants it.
func (g *golden) adapters() map[string]model.Adapter {
	out := map[string]model.Adapter{}
	for i := range g.adapter.Modules {
		m := &g.adapter.Modules[i]
		out[m.Name] = model.Adapter{Dim: g.adapter.DimOf(m), Scale: g.adapter.Scaling(m), DoRA: g.adapter.DoRA()}
	}
	return out
}

// bench is a model of the golden's parameters.
func (g *golden) bench(t *testing.T, cfg model.Config) *bench {
	t.Helper()
	cfg.Decoder = g.Decoder
	b := newBenchOn(t, g.dev, cfg)
	for i, group := range b.groups {
		for j, p := range group.Params {
			if p.Role == model.Turned || p.Role == model.Unit { // made when the weight before them is
				continue
			}
			b.host[i][j] = g.parameter(t, p, cfg.Full)
			if len(b.host[i][j]) != p.Shape.Size() {
				t.Fatalf("%s has %d values, the model wants %v", p.Name, len(b.host[i][j]), p.Shape)
			}
		}
	}
	return b
}

func (g *golden) parameter(t *testing.T, p model.Param, full bool) []float32 {
	t.Helper()
	if p.Role != model.Base {
		var out []float32
		for _, part := range p.Parts {
			i := slices.IndexFunc(g.adapter.Modules, func(m export.Module) bool { return m.Name == part.Module() })
			if i < 0 {
				t.Fatalf("the adapter has no %s", part.Module())
			}
			m := g.adapter.Modules[i]
			out = append(out, map[model.Role][]float32{model.LoraA: m.A, model.LoraB: m.B, model.LoraM: m.Magnitude}[p.Role]...)
		}
		return out
	}
	if t := g.adapter.Table(p.Name); t != nil && p.Trainable && !full {
		return t.Values
	}
	var out []float32
	for _, part := range p.Parts {
		_, shape, _ := g.Info(part.Tensor)
		size := 1
		for _, n := range shape {
			size *= n
		}
		data := make([]byte, 4*size)
		if err := g.ReadRows(part.Tensor, 0, part.Rows, dtypes.Float32, data); err != nil {
			t.Fatal(err)
		}
		out = append(out, decode(data, math.Float32frombits)...)
	}
	return out
}

// labelLogProbs are the log-probabilities of the labels of a case, from its golden logits.
func (g *golden) labelLogProbs(t *testing.T, b model.Batch, logits string) []float32 {
	t.Helper()
	v := g.floats(t, logits)
	var out []float32
	for _, label := range b.Labels {
		if label != -100 {
			n := len(out) * g.Decoder.Vocab
			out = append(out, float32(logProb(v[n:n+g.Decoder.Vocab], label)))
		}
	}
	return out
}

// score returns the log-probabilities of a batch's labels from the forward pass that keeps nothing.
func (b *bench) score(x model.Batch) []float32 {
	b.t.Helper()
	w := b.upload()
	defer device.FreeAll(w...)
	r := b.m.Begin(x)
	r.Embed(w[len(w)-1])
	for l := range b.m.Layers() {
		r.Infer(l, w[l])
	}
	out, err := r.Score(w[len(w)-1])
	if end := r.End(); err != nil || end != nil {
		b.t.Fatal(err, end)
	}
	return out
}

// checkLoss holds the sum of the losses to 1e-5 of the golden one: a sum of tens of float32 terms.
func checkLoss(t *testing.T, name string, got, want float64) {
	t.Helper()
	devicetest.AssertClose(t, name+": sum of losses", []float32{float32(got)}, []float32{float32(want)}, 1e-5, 0)
}

// gradTol is the tolerance of gradients relative to the tensor's greatest: an element is a sum over positions of terms
// that cancel, so its rounding error is of the terms' size and not of its own.
const gradTol = 2e-5

// checkGradients holds every gradient to golden tensors named prefix + the tensor's name, and every such golden tensor
// to having been met.
func (b *bench) checkGradients(g *golden, prefix string, grads [][][]float32) {
	b.t.Helper()
	met := 0
	check := func(name string, got []float32) {
		b.t.Helper()
		want := g.floats(b.t, prefix+name)
		devicetest.AssertClose(b.t, prefix+name, got, want, 0, gradTol*devicetest.MaxAbs(want))
		met++
	}
	for i, group := range b.groups {
		for j, p := range group.Trainable() {
			got := grads[i][j]
			width := len(got) / p.Shape.Dims[0]
			for _, part := range p.Parts {
				check(part.Tensor, got[:part.Rows*width])
				got = got[part.Rows*width:]
			}
		}
	}
	want := 0
	for name := range g.values {
		if strings.HasPrefix(name, prefix) {
			want++
		}
	}
	if met != want || met == 0 {
		b.t.Errorf("%s: %d gradients, the golden file has %d", prefix, met, want)
	}
}

// TestGolden holds the model to transformers and PEFT, family by family, in float32: log-probabilities, losses, and
// the gradient of every tensor, whatever is computed again in the backward pass.
func TestGolden(t *testing.T) {
	asShipped, hasty := devicetest.Open(t), devicetest.OpenHasty(t)
	t.Run("families", func(t *testing.T) {
		for _, family := range families(t) {
			dev := hasty
			if slices.Contains([]string{"llama2", "gemma3"}, family) { // the plainest and the one that has most
				dev = asShipped
			}
			t.Run(family, func(t *testing.T) {
				t.Parallel()
				openGolden(t, dev, family).checkAll(t)
			})
		}
	})
}

func (g *golden) checkAll(t *testing.T) {
	lora := func(r model.Remat) func(*testing.T) { return func(t *testing.T) { g.checkLoRA(t, r) } }
	full := func(r model.Remat) func(*testing.T) { return func(t *testing.T) { g.checkFull(t, r) } }
	t.Run("base", func(t *testing.T) { g.checkScores(t, model.Config{}, "logits_base") })
	t.Run("adapter", func(t *testing.T) { g.checkScores(t, model.Config{Adapters: g.adapters()}, "logits") })
	t.Run("decoding", g.checkDecoding)
	t.Run("lora", lora(model.RematNone))
	t.Run("full fine-tuning", full(model.RematNone))
	if g.Decoder.Mixture != nil {
		t.Run("training", g.checkTraining)
	}
	if filepath.Base(g.Path) == "mixtral" { // its experts are Qwen3-MoE's, its attention Llama's
		return
	}
	t.Run("lora, full remat", lora(model.RematFull))
	t.Run("bfloat16", g.checkBF16)
	// What the other policies compute again differs between families only by the layout of their linears.
	switch filepath.Base(g.Path) {
	case "llama2", "phi3":
		t.Run("lora, as written for GPUs", g.checkForGPU)
		t.Run("lora, selective remat", lora(model.RematSelective))
		t.Run("full fine-tuning, selective remat", full(model.RematSelective))
		fallthrough
	case "qwen2", "granite", "olmo2":
		t.Run("full fine-tuning, full remat", full(model.RematFull))
	}
}

// checkLoRA holds the loss and the gradients of the adapter to the golden ones.
func (g *golden) checkLoRA(t *testing.T, remat model.Remat) {
	b := g.bench(t, model.Config{Compute: dtypes.Float32, Adapters: g.adapters(), Remat: remat})
	for _, c := range cases {
		loss, grads := b.run(g.batch(t, c), true)
		checkLoss(t, c, loss, g.sums[c].Adapter)
		b.checkGradients(g, c+".grad.", grads)
	}
	// Families differ in packed rows only by their windows, norms and rotary frequencies.
	if family := filepath.Base(g.Path); remat == model.RematNone && slices.Contains([]string{"llama2", "mistral", "phi3_longrope", "qwen3"}, family) {
		loss, grads := b.run(pack(documents(g.batch(t, "padded")), 0), true)
		checkLoss(t, "packed", loss, g.sums["padded"].Adapter)
		b.checkGradients(g, "padded.grad.", grads)
	}
}

// checkForGPU is checkLoRA, on whatever device, of the programs that GPUs get, but for cuDNN's attention.
func (g *golden) checkForGPU(t *testing.T) {
	b := g.bench(t, model.Config{Compute: dtypes.Float32, Adapters: g.adapters(), Target: model.CUDA, Remat: model.RematFull})
	loss, grads := b.run(g.batch(t, "padded"), true)
	checkLoss(t, "padded", loss, g.sums["padded"].Adapter)
	b.checkGradients(g, "padded.grad.", grads)
}

// checkFull holds the loss and the gradients of the base, without adapter, to the golden ones.
func (g *golden) checkFull(t *testing.T, remat model.Remat) {
	b := g.bench(t, model.Config{Compute: dtypes.Float32, Full: true, Remat: remat})
	loss, grads := b.run(g.batch(t, "plain"), true)
	checkLoss(t, "plain", loss, g.sums["plain"].Base)
	b.checkGradients(g, "full.grad.", grads)
}

// families lists the folders of goldens.
func families(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	if len(out) < 13 {
		t.Fatalf("goldens of %v only", out)
	}
	return out
}

func (g *golden) checkScores(t *testing.T, cfg model.Config, logits string) {
	cfg.Compute = dtypes.Float32
	b := g.bench(t, cfg)
	for _, c := range cases {
		x := g.batch(t, c)
		devicetest.AssertClose(t, c+": log-probabilities", b.score(x), g.labelLogProbs(t, x, c+"."+logits), devicetest.RTol32, devicetest.ATol32)
	}
}

// checkDecoding feeds the first tokens of the plain case, then one at a time, and holds all logits to the golden ones.
func (g *golden) checkDecoding(t *testing.T) {
	b := g.bench(t, model.Config{Compute: dtypes.Float32, Adapters: g.adapters()})
	x, want := g.batch(t, "plain"), g.floats(t, "plain.logits")
	w := b.upload()
	defer device.FreeAll(w...)
	dec, err := b.m.NewDecoding(x.Rows, x.Seq)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	vocab, supervised := g.Decoder.Vocab, x.Seq-1 // per row
	from, to := 0, x.Seq/2
	for ; to <= supervised; from, to = to, to+1 {
		var ids, positions, last []int32
		for r := range x.Rows {
			ids = append(ids, x.IDs[r*x.Seq+from:r*x.Seq+to]...)
			positions = append(positions, x.Positions[from:to]...)
			last = append(last, int32(to-from-1))
		}
		got, err := dec.Feed(params(w), ids, positions, last)
		if err != nil {
			t.Fatal(err)
		}
		for r := range x.Rows {
			n := (r*supervised + to - 1) * vocab
			devicetest.AssertClose(t, "logits", got[r*vocab:(r+1)*vocab], want[n:n+vocab], 0, 1e-5*devicetest.MaxAbs(want))
		}
	}
}

// checkBF16 computes in bfloat16, with the base rounded to it, and holds the outcome to the float32 goldens. bfloat16 has
// 8 bits, so single values may be off by several per cent of their size: what is bounded is the length of the difference:
// 2 % of the whole for log-probabilities and losses, 5 % for gradients (transformers itself in bfloat16 is off
// by 2 to 4 % there).
func (g *golden) checkBF16(t *testing.T) {
	b := g.bench(t, model.Config{Compute: dtypes.BFloat16, Adapters: g.adapters(), Remat: model.RematFull})
	family := filepath.Base(g.Path)
	backward := family == "qwen3" || family == "phi3" // these programs compile slowest
	for _, c := range cases {
		x := g.batch(t, c)
		if off := distance(b.score(x), g.labelLogProbs(t, x, c+".logits")); !(off < 0.02) {
			t.Errorf("%s: log-probabilities are off by %.4f of their size", c, off)
		}
		loss, grads := b.run(x, backward)
		if off := math.Abs(loss/g.sums[c].Adapter - 1); !(off < 0.02) {
			t.Errorf("%s: sum of losses %.6g, want %.6g", c, loss, g.sums[c].Adapter)
		}
		if !backward {
			continue
		}
		var got, want []float32
		for i, group := range b.groups {
			for j, p := range group.Trainable() {
				got, want = append(got, grads[i][j]...), append(want, g.floats(t, c+".grad."+p.Name)...)
			}
		}
		if off := distance(got, want); !(off < 0.05) {
			t.Errorf("%s: gradients are off by %.4f of their size", c, off)
		}
	}
}

// checkBesides holds one way to compute in bfloat16 to another, by name: losses and gradients of all parameters are as near
// to those in float32 with the one as with the other. run computes them, as asked by the one way or the other.
func checkBesides(t *testing.T, other string, run func(compute dtypes.DType, asked bool) (float64, [][][]float32)) {
	t.Helper()
	checkWithin(t, 1.25, other, run)
}

// checkWithin is checkBesides where gradients may be off by times what they are with the other way.
func checkWithin(t *testing.T, times float64, other string, run func(compute dtypes.DType, asked bool) (float64, [][][]float32)) {
	t.Helper()
	flat := func(loss float64, grads [][][]float32) (float64, []float32) {
		return loss, slices.Concat(slices.Concat(grads...)...)
	}
	loss, grads := flat(run(dtypes.BFloat16, true))
	_, others := flat(run(dtypes.BFloat16, false))
	wantLoss, want := flat(run(dtypes.Float32, false))
	if off := math.Abs(loss/wantLoss - 1); !(off < 0.02) {
		t.Errorf("loss %g, want %g", loss, wantLoss)
	}
	if off, besides := distance(grads, want), distance(others, want); !(off < times*besides+0.005) {
		t.Errorf("gradients are off by %.4f of their size, %s by %.4f", off, other, besides)
	}
}

// distance is the length of got - want relative to that of want.
func distance(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	diff, size := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
		size += float64(w) * float64(w)
	}
	return math.Sqrt(diff / size)
}
