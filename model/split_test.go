package model_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
)

// layout is a way to split a model.
type layout struct {
	tensor, context int
	sequence        bool
}

func (l layout) String() string {
	s := fmt.Sprintf("tp%d cp%d", l.tensor, l.context)
	if l.sequence {
		s += " sp"
	}
	return s
}

// team is a model in parts, each on a client of its own.
type team struct {
	layout
	parts  []*bench // the parts of tensor are next to each other
	tables []*devicetest.Table
}

// newTeam splits the model of whole, with its parameters.
func newTeam(t *testing.T, whole *bench, l layout) *team {
	t.Helper()
	tm := &team{layout: l}
	seats := func(n int) []*devicetest.Table {
		out := make([]*devicetest.Table, n)
		for i := range out {
			out[i] = devicetest.NewTable(l.tensor * l.context / n)
		}
		tm.tables = append(tm.tables, out...)
		return out
	}
	tensor, context := seats(l.context), seats(l.tensor)
	values := whole.tensors(whole.host)
	for i, dev := range devicetest.Parts(t, l.tensor*l.context) {
		axis := func(table *devicetest.Table, parts, index int) model.Axis {
			number, release, err := dev.Communicate(table.Seat(index))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(release)
			return model.Axis{Parts: parts, Index: index, Comm: number}
		}
		cfg, at, row := whole.m.Config(), i%l.tensor, i/l.tensor
		cfg.Split = model.Split{Tensor: axis(tensor[row], l.tensor, at), Context: axis(context[at], l.context, row), Sequence: l.sequence}
		b := newBenchOn(t, dev, cfg)
		for g, group := range b.groups {
			for j, p := range group.Params {
				b.host[g][j] = values.read(t, p)
			}
		}
		tm.parts = append(tm.parts, b)
	}
	return tm
}

// tensors are whole tensors of float32 by name.
type tensors map[string][]byte

// tensors puts values, by group and parameter, together to whole tensors.
func (b *bench) tensors(values [][][]float32) tensors {
	out := tensors{}
	for g, group := range b.groups {
		for j, p := range group.Params {
			out.write(b.t, p, values[g][j])
		}
	}
	return out
}

func (x tensors) write(t *testing.T, p model.Param, v []float32) {
	t.Helper()
	p.Shape.DType = dtypes.Float32
	var data []byte
	for _, f := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(f))
	}
	err := p.Write(data, func(name string, shape device.Shape) []byte {
		if x[name] == nil {
			x[name] = make([]byte, shape.Bytes())
		}
		return x[name]
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (x tensors) read(t *testing.T, p model.Param) []float32 {
	t.Helper()
	p.Shape.DType = dtypes.Float32
	data := make([]byte, p.Shape.Bytes())
	err := p.Read(0, p.Shape.Dims[0], data, func(name string, lo, hi int, dst []byte) error {
		if hi <= lo || len(dst)%(hi-lo) != 0 {
			return fmt.Errorf("rows %d to %d of %s into %d bytes", lo, hi, name, len(dst))
		}
		row := len(dst) / (hi - lo)
		copy(dst, x[name][lo*row:hi*row])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return decode(data, math.Float32frombits)
}

// each runs f for every part at once. A part that fails lets the others fail instead of wait.
func (tm *team) each(f func(i int, b *bench)) {
	var all sync.WaitGroup
	for i, b := range tm.parts {
		all.Go(func() {
			done := false
			defer func() {
				for _, t := range tm.tables {
					if !done {
						t.Cancel(fmt.Errorf("part %d failed", i))
					}
				}
			}()
			f(i, b)
			done = true
		})
	}
	all.Wait()
}

// run returns the sum of the losses and all gradients as whole tensors, of a pass over all parts. It holds parts that
// should have the same to the same bits.
func (tm *team) run(t *testing.T, x model.Batch) (float64, tensors) {
	t.Helper()
	losses, grads := make([]float64, len(tm.parts)), make([][][][]float32, len(tm.parts))
	tm.each(func(i int, b *bench) { losses[i], grads[i] = b.run(x, true) })
	if t.Failed() {
		t.FailNow()
	}
	loss, sum := 0.0, tensors{}
	for row := range tm.context {
		first := row * tm.tensor
		loss += losses[first]
		here := tensors{}
		for i := first; i < first+tm.tensor; i++ {
			if losses[i] != losses[first] {
				t.Errorf("parts %d and %d have losses %v and %v", first, i, losses[first], losses[i])
			}
			for g, group := range tm.parts[i].groups {
				for j, p := range group.Trainable() {
					if !p.Split && !slices.Equal(grads[i][g][j], grads[first][g][j]) {
						t.Errorf("parts %d and %d have different gradients of %s", first, i, p.Name)
					}
					here.write(t, p, grads[i][g][j])
				}
			}
		}
		sum.add(here)
	}
	return loss, sum
}

func (x tensors) add(y tensors) {
	for name, b := range y {
		if x[name] == nil {
			x[name] = b
			continue
		}
		for i := 0; i < len(b); i += 4 {
			f := func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[i:])) }
			binary.LittleEndian.PutUint32(x[name][i:], math.Float32bits(f(x[name])+f(b)))
		}
	}
}

// splitTol is the greatest relative difference of a loss between layouts.
const splitTol = 1e-6

// checkSplit holds a split model to the whole one.
func (b *bench) checkSplit(t *testing.T, l layout, x model.Batch) {
	t.Helper()
	wantLoss, grads := b.run(x, true)
	want := tensors{}
	for g, group := range b.groups {
		for j, p := range group.Trainable() {
			want.write(t, p, grads[g][j])
		}
	}
	tm := newTeam(t, b, l)
	loss, got := tm.run(t, x)
	if lossToo, gotToo := tm.run(t, x); lossToo != loss || !maps.EqualFunc(got, gotToo, slices.Equal) {
		t.Errorf("the same again gives other bits")
	}
	devicetest.AssertClose(t, "sum of losses", []float32{float32(loss)}, []float32{float32(wantLoss)}, splitTol, 0)
	if len(got) != len(want) || len(got) == 0 {
		t.Errorf("gradients of %d tensors, want %d", len(got), len(want))
	}
	for name, w := range want {
		values := decode(w, math.Float32frombits)
		devicetest.AssertClose(t, name, decode(got[name], math.Float32frombits), values, 0, gradTol*devicetest.MaxAbs(values))
	}
}

// TestSplitFamilies holds every family, split, to itself on one device: two of them, with separate and with fused
// tensors, in every way, the others in the way that what they have of their own matters to.
func TestSplitFamilies(t *testing.T) {
	devicetest.CPUOnly(t)
	dev := devicetest.Parts(t, 1)[0]
	type variant struct {
		layout
		full  bool
		remat model.Remat
		drop  float64 // > 0: the input of A; < 0: as much of what B gives
	}
	tensor, context, all := layout{2, 1, true}, layout{1, 2, false}, layout{2, 2, true}
	plain := layout{2, 1, false}
	variants := map[string][]variant{
		"llama3": {
			{plain, false, model.RematFull, 0.3},
			{tensor, true, model.RematNone, 0},
			{context, true, model.RematFull, 0},
			{all, false, model.RematSelective, -0.3},
		},
		"phi3": {
			{plain, true, model.RematNone, 0},
			{tensor, false, model.RematFull, -0.3},
			{context, false, model.RematNone, 0.3},
			{layout{4, 1, false}, true, model.RematSelective, 0},
		},
		"qwen2":     {{tensor, true, model.RematNone, 0}},   // biases
		"qwen3":     {{tensor, true, model.RematFull, 0}},   // norms of heads
		"mistral":   {{context, false, model.RematNone, 0}}, // a window
		"smollm2":   nil,                                    // its blocks are llama3's
		"llama2":    nil,                                    // and so are llama2's
		"smollm3":   {{context, false, model.RematNone, 0}}, // layers without rotary
		"gemma2":    {{tensor, true, model.RematNone, 0}},   // norms of results, soft caps, a scaled embedding
		"gemma3":    {{tensor, false, model.RematFull, 0}},  // two rotary embeddings
		"olmo2":     {{context, true, model.RematNone, 0}},  // norms over all heads
		"mixtral":   {{context, false, model.RematNone, 0}}, // experts
		"qwen3_moe": nil,                                    // the same experts

		"phi3_longrope": nil, // phi3 with other angles, which no part makes
	}
	for _, family := range families(t) {
		list, own := variants[family]
		if !own {
			list = []variant{{tensor, false, model.RematNone, 0}}
		}
		for _, v := range list {
			t.Run(fmt.Sprintf("%s %s full=%t", family, v.layout, v.full), func(t *testing.T) {
				g := openGolden(t, dev, family)
				cfg := model.Config{Compute: dtypes.Float32, Full: v.full, Remat: v.remat, Dropout: math.Abs(v.drop), DropPost: v.drop < 0}
				if !v.full {
					cfg.Adapters = g.adapters()
				}
				x := g.batch(t, "padded")
				if v.drop != 0 {
					rng := rand.New(rand.NewPCG(9, 9))
					for range x.Rows {
						x.Keys = append(x.Keys, rng.Uint32())
					}
				}
				g.bench(t, cfg).checkSplit(t, v.layout, x)
			})
		}
	}
}

// TestSplitBF16: in bfloat16 parts round what they add up, so that a layout changes values by what rounding does.
func TestSplitBF16(t *testing.T) {
	devicetest.CPUOnly(t)
	d := tiny(func(d *spec.Decoder) { d.Layers = 1 })
	b := newBench(t, model.Config{Decoder: d, Compute: dtypes.BFloat16, Adapters: adapters(d, 3)})
	x := batch(d, 2, 16, false)
	wantLoss, grads := b.run(x, true)
	loss, got := newTeam(t, b, layout{2, 2, true}).run(t, x)
	if off := math.Abs(loss/wantLoss - 1); !(off < 0.02) {
		t.Errorf("sum of losses %.6g, want %.6g", loss, wantLoss)
	}
	var all, want []float32
	for g, group := range b.groups {
		for j, p := range group.Trainable() {
			all, want = append(all, decode(got[p.Name], math.Float32frombits)...), append(want, grads[g][j]...)
		}
	}
	if off := distance(all, want); !(off < 0.05) {
		t.Errorf("gradients are off by %.4f of their size", off)
	}
}

// TestSplitShapes: sizes that do not divide, packed rows, loops.
func TestSplitShapes(t *testing.T) {
	devicetest.CPUOnly(t)
	all := layout{2, 2, true}
	for name, c := range map[string]struct {
		layout
		edit func(*spec.Decoder)
		cfg  model.Config
		x    func(d *spec.Decoder) model.Batch
	}{
		"uneven": {all, func(d *spec.Decoder) { d.OBias, d.MLPBias = true, true }, model.Config{Full: true}, func(d *spec.Decoder) model.Batch { return batch(d, 2, 13, false) }},
		"packed": {all, nil, model.Config{Dropout: 0.3}, func(d *spec.Decoder) model.Batch { return pack(draw(d.Vocab, 9, 4, 1, 12, 30), 3) }},
		"loops": {layout{1, 2, false}, func(d *spec.Decoder) { d.Layers, d.Window = 1, []int{100} }, model.Config{}, func(d *spec.Decoder) model.Batch {
			return batch(d, 1, 4*64*9, false)
		}},
		"loss in chunks": {layout{2, 1, false}, func(d *spec.Decoder) { d.Layers = 1 }, model.Config{Full: true}, func(d *spec.Decoder) model.Batch { return batch(d, 4, 260, false) }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.cfg
			cfg.Decoder, cfg.Compute = tiny(c.edit), dtypes.Float32
			if !cfg.Full {
				cfg.Adapters = adapters(cfg.Decoder, 3)
			}
			newBenchOn(t, devicetest.Parts(t, 1)[0], cfg).checkSplit(t, c.layout, c.x(cfg.Decoder))
		})
	}
}

// TestSplitInference: scores and generation of a split model are those of the whole one, on every part.
func TestSplitInference(t *testing.T) {
	devicetest.CPUOnly(t)
	d := tiny(nil)
	whole := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)})
	tm := newTeam(t, whole, layout{2, 2, true})
	ids, positions := []int32{3, 1, 4, 15, 9, 2}, []int32{0, 1, 2, 0, 1, 2}
	// Two branches go on from the first row's 4 tokens, one from the second's 3.
	branches := model.Batch{
		Rows: 2, Seq: 3, IDs: []int32{7, 8, 2, 1, 4, 6}, Positions: []int32{4, 5, 4, 3, 4, 5},
		Starts: []int32{0, 0, 2, 0, 0, 0}, Labels: []int32{8, 3, 9, 4, 6, 2},
	}
	feed := func(b *bench) []float32 {
		w := b.upload()
		defer device.FreeAll(w...)
		dec, err := b.m.NewDecoding(2, 8)
		if err != nil {
			b.t.Error(err)
			return nil
		}
		defer dec.Close()
		first, err := dec.Feed(params(w), ids, positions, []int32{2, 1})
		if err != nil {
			b.t.Error(err)
			return nil
		}
		second, err := dec.Feed(params(w), []int32{5, 6}, []int32{3, 2}, []int32{0, 0})
		if err != nil {
			b.t.Error(err)
		}
		scores, err := dec.Score(params(w), branches)
		if err != nil {
			b.t.Error(err)
		}
		return slices.Concat(first, second, scores)
	}
	want := feed(whole)
	x := batch(d, 2, 8, false)
	scores := whole.score(x)
	total := float32(0)
	for _, s := range scores {
		total += s
	}
	logits, sums := make([][]float32, len(tm.parts)), make([]float32, len(tm.parts))
	tm.each(func(i int, b *bench) {
		logits[i] = feed(b)
		for _, s := range b.score(x) {
			sums[i] += s
		}
	})
	for i := range tm.parts {
		devicetest.AssertClose(t, fmt.Sprintf("logits of part %d", i), logits[i], want, 0, 1e-5*devicetest.MaxAbs(want))
	}
	// Each part of context scores its own tokens, and both parts of tensor all of those.
	devicetest.AssertClose(t, "scores", []float32{sums[0] + sums[2], sums[1] + sums[3]}, []float32{total, total}, 1e-5, 0)
}

// TestSplitFaults: a split that cannot be is refused with every reason.
func TestSplitFaults(t *testing.T) {
	d := tiny(nil) // 4 query heads, 2 key/value heads, 24 features
	wide := tiny(func(d *spec.Decoder) { d.QKNorm, d.QKNormWide = true, true })
	_, err := model.New(nil, model.Config{Decoder: wide, Compute: dtypes.Float32, Split: model.Split{Tensor: model.Axis{Parts: 2}}})
	if err == nil || !strings.Contains(err.Error(), "share the norms of q and k") {
		t.Errorf("norms over all heads, split: %v", err)
	}
	experts := tiny(mixed)
	_, err = model.New(nil, model.Config{Decoder: experts, Compute: dtypes.Float32, Split: model.Split{Tensor: model.Axis{Parts: 2}}})
	if err == nil || !strings.Contains(err.Error(), "experts of a llama model cannot be split") {
		t.Errorf("experts, split: %v", err)
	}
	experts.Mixture.Balance = 0.1
	_, err = model.New(nil, model.Config{Decoder: experts, Compute: dtypes.Float32, Split: model.Split{Context: model.Axis{Parts: 2}}})
	if err == nil || !strings.Contains(err.Error(), "auxiliary loss of a router is of whole rows") {
		t.Errorf("an auxiliary loss, split by tokens: %v", err)
	}
	for _, c := range []struct {
		split model.Split
		want  []string
	}{
		{model.Split{Tensor: model.Axis{Parts: 4}}, []string{"2 key/value heads do not divide into 4"}},
		{model.Split{Tensor: model.Axis{Parts: 5}}, []string{"4 query heads", "2 key/value heads", "24 MLP features"}},
		{model.Split{Sequence: true}, []string{"no sequence parallelism"}},
		{model.Split{Tensor: model.Axis{Parts: 2, Index: 2}, Context: model.Axis{Index: -1}}, []string{"part 2 of 2 on the tensor axis", "part -1 of 0 on the context axis"}},
	} {
		_, err := model.New(nil, model.Config{Decoder: d, Compute: dtypes.Float32, Split: c.split})
		var all interface{ Unwrap() []error }
		if !errors.As(err, &all) || len(all.Unwrap()) != len(c.want) {
			t.Errorf("%+v: %v, want %d faults", c.split, err, len(c.want))
		}
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: %v, want %q", c.split, err, w)
			}
		}
	}
}
