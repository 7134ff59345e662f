package model_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
)

// document is a row without its padding.
type document struct {
	ids, labels []int32
	key         uint32
}

// documents takes a batch apart. Where a row's padding begins is told by its labels: it has none after its last.
func documents(b model.Batch) []document {
	var out []document
	for r := range b.Rows {
		ids, labels := b.IDs[r*b.Seq:(r+1)*b.Seq], b.Labels[r*b.Seq:(r+1)*b.Seq]
		n := b.Seq
		for n > 1 && labels[n-1] == -100 {
			n--
		}
		out = append(out, document{ids: ids[:n], labels: labels[:n]})
	}
	return out
}

// pack puts all documents into one row, one after the other, with some padding at the end.
func pack(docs []document, padding int) model.Batch {
	b := model.Batch{Rows: 1}
	add := func(id, label, at, start int32, key uint32) {
		b.IDs, b.Labels, b.Keys = append(b.IDs, id), append(b.Labels, label), append(b.Keys, key)
		b.Positions, b.Starts = append(b.Positions, at), append(b.Starts, start)
	}
	for _, d := range append(slices.Clone(docs), document{ids: make([]int32, padding), labels: slices.Repeat([]int32{-100}, padding)}) {
		start := int32(len(b.IDs))
		for i, id := range d.ids {
			add(id, d.labels[i], int32(i), start, d.key)
		}
	}
	b.Seq = len(b.IDs)
	return b
}

// unpacked gives each document a row.
func unpacked(docs []document) model.Batch {
	b := model.Batch{Rows: len(docs)}
	for _, d := range docs {
		b.Seq = max(b.Seq, len(d.ids))
	}
	for _, d := range docs {
		rest := b.Seq - len(d.ids)
		b.IDs = slices.Concat(b.IDs, d.ids, make([]int32, rest))
		b.Labels = slices.Concat(b.Labels, d.labels, slices.Repeat([]int32{-100}, rest))
		b.Keys = append(b.Keys, d.key)
		for i := range b.Seq {
			b.Positions = append(b.Positions, int32(i))
		}
	}
	return b
}

// draw makes documents of the given lengths whose every token but the first third is predicted.
func draw(vocab int, lengths ...int) []document {
	rng := rand.New(rand.NewPCG(7, 8))
	var out []document
	for _, n := range lengths {
		d := document{key: rng.Uint32()}
		for i := range n {
			label := int32(-100)
			if i >= n/3 {
				label = int32(rng.IntN(vocab))
			}
			d.ids, d.labels = append(d.ids, int32(rng.IntN(vocab))), append(d.labels, label)
		}
		out = append(out, d)
	}
	return out
}

// TestPacked: documents in one row give the loss and the gradients that they give in rows of their own, and those of
// each are the same bits whatever the documents around it are.
func TestPacked(t *testing.T) {
	for name, c := range map[string]struct {
		edit    func(*spec.Decoder)
		cfg     model.Config
		lengths []int
	}{
		"lora":           {lengths: []int{50, 30, 1, 60}},
		"full, qk norm":  {edit: func(d *spec.Decoder) { d.QKNorm = true }, cfg: model.Config{Full: true, Remat: model.RematFull}},
		"window":         {edit: func(d *spec.Decoder) { d.Window = []int{3, 0} }},
		"dropout":        {cfg: model.Config{Dropout: 0.3}},
		"dynamic rotary": {edit: func(d *spec.Decoder) { d.Rope.Kind, d.Rope.Factor, d.Rope.OriginalMaxPositions = "dynamic", 4, 8 }},
		"longrope": {edit: func(d *spec.Decoder) {
			d.Rope = spec.Rope{Theta: 100, Dim: 4, Kind: "longrope", Factor: 4, OriginalMaxPositions: 16, ShortFactor: []float64{1, 1.1}, LongFactor: []float64{3, 7}}
		}},
		"loop": {lengths: []int{400, 64, 3, 500, 90}, edit: func(d *spec.Decoder) { d.Layers = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.cfg
			cfg.Decoder, cfg.Compute = tiny(c.edit), dtypes.Float32
			if !cfg.Full {
				cfg.Adapters = adapters(cfg.Decoder, 3)
			}
			if c.lengths == nil {
				c.lengths = []int{9, 4, 1, 12}
			}
			b := newBench(t, cfg)
			docs := draw(cfg.Decoder.Vocab, c.lengths...)
			wantLoss, want := b.run(unpacked(docs), true)
			loss, grads := b.run(pack(docs, 5), true)
			devicetest.AssertClose(t, "sum of losses", []float32{float32(loss)}, []float32{float32(wantLoss)}, 1e-5, 0)
			for g, group := range b.groups {
				for j, p := range group.Trainable() {
					devicetest.AssertClose(t, p.Name, grads[g][j], want[g][j], 0, gradTol*devicetest.MaxAbs(want[g][j]))
				}
			}
			b.apart(docs)
		})
	}
}

// TestPackedBF16: documents stay apart to the bit where products are rounded, too.
func TestPackedBF16(t *testing.T) {
	d := tiny(nil)
	newBench(t, model.Config{Decoder: d, Compute: dtypes.BFloat16, Adapters: adapters(d, 3)}).apart(draw(d.Vocab, 50, 30, 1, 60))
}

// apart replaces the documents around each one: with labels in that one alone, loss and gradients must not change.
func (b *bench) apart(docs []document) {
	b.t.Helper()
	for own := range docs {
		with := func(add int32) model.Batch {
			around := slices.Clone(docs)
			for i, d := range docs {
				if i == own {
					continue
				}
				around[i].labels = slices.Repeat([]int32{-100}, len(d.ids))
				around[i].ids = slices.Clone(d.ids)
				for j := range d.ids {
					around[i].ids[j] = (d.ids[j] + add) % int32(b.m.Config().Decoder.Vocab)
				}
			}
			return pack(around, 5)
		}
		loss, grads := b.run(with(0), true)
		lossToo, gradsToo := b.run(with(1), true)
		if loss != lossToo {
			b.t.Errorf("document %d: the loss is %v, with others around it %v", own, loss, lossToo)
		}
		for g, group := range b.groups {
			for j, p := range group.Trainable() {
				if !slices.Equal(grads[g][j], gradsToo[g][j]) {
					b.t.Errorf("document %d: the gradient of %s depends on other documents", own, p.Name)
				}
			}
		}
	}
}

// TestBatchFaults: a batch whose parts do not fit each other is refused before any program reads them.
func TestBatchFaults(t *testing.T) {
	d := tiny(nil)
	b := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3), Dropout: 0.1})
	for name, change := range map[string]func(x *model.Batch){
		"5 ids":                        func(x *model.Batch) { x.IDs = x.IDs[:5] },
		"2 starts":                     func(x *model.Batch) { x.Starts = x.Starts[:2] },
		"1 dropout keys, not 6":        func(x *model.Batch) { x.Keys = x.Keys[:1] },
		"place 2 of row 0 is of a doc": func(x *model.Batch) { x.Starts[2] = 3 },
		"the one before it of another": func(x *model.Batch) { x.Starts[5] = 2 },
		"starts at -1":                 func(x *model.Batch) { x.Starts[0] = -1 },
	} {
		x := pack(draw(d.Vocab, 4, 2), 0)
		change(&x)
		if err := b.m.Begin(x).End(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
