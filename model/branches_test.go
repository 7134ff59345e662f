package model_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
)

// forest are texts with several branches each.
type forest struct {
	texts    [][]int32
	branches [][][]int32
}

// drawForest draws texts of the given lengths, each with branches of the given lengths.
func drawForest(vocab int, texts, branches []int) forest {
	rng := rand.New(rand.NewPCG(11, 12))
	draw := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32(rng.IntN(vocab))
		}
		return out
	}
	var f forest
	for _, n := range texts {
		f.texts = append(f.texts, draw(n))
		var list [][]int32
		for _, n := range branches {
			list = append(list, draw(n))
		}
		f.branches = append(f.branches, list)
	}
	return f
}

// whole has every text with every branch in a row of its own; a branch's tokens after the first are supervised.
func (f forest) whole(seq int) model.Batch {
	b := model.Batch{Seq: seq}
	for i, text := range f.texts {
		for _, branch := range f.branches[i] {
			b.Rows++
			for at := range seq {
				id, label := int32(0), int32(-100)
				switch own := at - len(text); {
				case own < 0:
					id = text[at]
				case own < len(branch):
					id = branch[own]
					if own+1 < len(branch) {
						label = branch[own+1]
					}
				}
				b.IDs, b.Labels, b.Positions = append(b.IDs, id), append(b.Labels, label), append(b.Positions, int32(at))
			}
		}
	}
	return b
}

// shared has the branches of each text side by side in a row, filled with tokens that see nothing else.
func (f forest) shared(seq int) model.Batch {
	b := model.Batch{Rows: len(f.texts), Seq: seq}
	for i, text := range f.texts {
		row := len(b.IDs)
		for _, branch := range f.branches[i] {
			start := int32(len(b.IDs) - row)
			for own, id := range branch {
				label := int32(-100)
				if own+1 < len(branch) {
					label = branch[own+1]
				}
				b.IDs, b.Labels = append(b.IDs, id), append(b.Labels, label)
				b.Starts, b.Positions = append(b.Starts, start), append(b.Positions, int32(len(text)+own))
			}
		}
		for at := len(b.IDs) - row; at < seq; at++ {
			b.IDs, b.Labels = append(b.IDs, 0), append(b.Labels, -100)
			b.Starts, b.Positions = append(b.Starts, int32(at)), append(b.Positions, 0)
		}
	}
	return b
}

// fill runs the texts into a cache.
func (f forest) fill(t *testing.T, b *bench, w params, capacity int) *model.Decoding {
	t.Helper()
	width := 0
	for _, text := range f.texts {
		width = max(width, len(text))
	}
	ids, positions := make([]int32, len(f.texts)*width), make([]int32, len(f.texts)*width)
	for i, text := range f.texts {
		copy(ids[i*width:], text)
		for at := range width {
			positions[i*width+at] = int32(at)
		}
	}
	dec, err := b.m.NewDecoding(len(f.texts), capacity)
	if err != nil {
		t.Fatal(err)
	}
	if err := dec.Fill(w, ids, positions); err != nil {
		t.Fatal(err)
	}
	return dec
}

// TestBranches: branches against a shared beginning score as each does with the beginning in front, twice in a row, and
// what is generated afterwards has not seen them.
func TestBranches(t *testing.T) {
	asShipped, hasty := devicetest.Open(t), devicetest.OpenHasty(t)
	for family, dev := range map[string]*device.Client{"llama2": asShipped, "mistral": hasty, "gemma2": hasty} { // plain; windows; soft caps and norms of results
		t.Run(family, func(t *testing.T) {
			g := openGolden(t, dev, family)
			b := g.bench(t, model.Config{Compute: dtypes.Float32, Adapters: g.adapters()})
			f := drawForest(g.Decoder.Vocab, []int{12, 5}, []int{2, 7, 4})
			want := b.score(f.whole(20))
			w := b.upload()
			defer device.FreeAll(w...)
			dec := f.fill(t, b, w, 20)
			defer dec.Close()
			for time := range 2 {
				got, err := dec.Score(params(w), f.shared(16))
				if err != nil {
					t.Fatal(err)
				}
				devicetest.AssertClose(t, fmt.Sprint("log-probabilities, time ", time), got, want, 1e-5, devicetest.ATol32)
			}
			logits, err := dec.Feed(params(w), []int32{f.branches[0][1][0], f.branches[1][1][0]}, []int32{12, 5}, []int32{0, 0})
			if err != nil {
				t.Fatal(err)
			}
			vocab, first := g.Decoder.Vocab, []float32{want[1], want[len(want)/2+1]} // the second branches' first labels
			for row, w := range first {
				got := float32(logProb(logits[row*vocab:(row+1)*vocab], f.branches[row][1][1]))
				devicetest.AssertClose(t, fmt.Sprint("row ", row, ": next token"), []float32{got}, []float32{w}, 1e-5, devicetest.ATol32)
			}
		})
	}
}

// TestBranchesLong: texts and windows longer than a block of queries.
func TestBranchesLong(t *testing.T) {
	d := tiny(func(d *spec.Decoder) { d.Window, d.MaxPositions = []int{90, 0}, 512 })
	b := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)})
	f := drawForest(d.Vocab, []int{150, 101}, []int{30, 3})
	want := b.score(f.whole(180))
	w := b.upload()
	defer device.FreeAll(w...)
	dec := f.fill(t, b, w, 180)
	defer dec.Close()
	got, err := dec.Score(params(w), f.shared(33))
	if err != nil {
		t.Fatal(err)
	}
	devicetest.AssertClose(t, "log-probabilities", got, want, 1e-5, devicetest.ATol32)
}

// TestBranchFaults: what does not fit the cache is refused before anything runs.
func TestBranchFaults(t *testing.T) {
	d := tiny(nil)
	b := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)})
	dec, err := b.m.NewDecoding(1, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	fill := []int32{0, 0}
	for want, x := range map[string]model.Batch{
		"the cache has 1 rows":      {Rows: 2, Seq: 1, IDs: fill, Positions: fill, Starts: fill, Labels: fill},
		"with 0 starts":             {Rows: 1, Seq: 2, IDs: fill, Positions: fill, Labels: fill},
		"outside the cache of 8":    {Rows: 1, Seq: 2, IDs: fill, Positions: []int32{7, 8}, Starts: fill, Labels: fill},
		"has position 0, and 1 bef": {Rows: 1, Seq: 2, IDs: fill, Positions: fill, Starts: fill, Labels: fill},
	} {
		if _, err := dec.Score(nil, x); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := dec.Fill(nil, fill, []int32{1, 2}); err == nil || !strings.Contains(err.Error(), "count from 0") {
		t.Errorf("%v", err)
	}
}
