package model_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
	"gorun/tools/skip"
)

// TestFlashPacked is TestFlash of packed rows, in which no query sees another document.
func TestFlashPacked(t *testing.T) {
	dev := devicetest.Open(t)
	if targetOf(dev.Platform()) != model.CUDA {
		skip.Because(t, "cuDNN needs an NVIDIA GPU")
	}
	for name, c := range map[string]struct {
		rows    [][]int // lengths of documents
		padding int     // of the first row
		window  int
	}{
		"one row":               {rows: [][]int{{50, 30, 1, 60}}, padding: 51},
		"two rows":              {rows: [][]int{{400, 64, 3, 500}, {90, 934}}, padding: 57},
		"many documents":        {rows: [][]int{{7, 9, 30, 2, 64, 1, 1, 5, 9, 64, 33, 12, 11}, {64, 64, 64, 64}}, padding: 8},
		"an odd length":         {rows: [][]int{{50, 30, 1, 64}}, padding: 4},
		"one document":          {rows: [][]int{{256}, {256}}},
		"a window in documents": {rows: [][]int{{150, 100}}, padding: 6, window: 40},
		"a window beyond them":  {rows: [][]int{{50, 100}}, padding: 106, window: 128},
	} {
		t.Run(name, func(t *testing.T) {
			d := tiny(func(d *spec.Decoder) {
				d.Hidden, d.Heads, d.KVHeads, d.HeadDim, d.Rope.Dim, d.MaxPositions = 64, 4, 2, 64, 64, 1024
				if c.window > 0 {
					d.Window = []int{c.window, 0}
				}
			})
			var x model.Batch
			for i, lengths := range c.rows {
				row := pack(draw(d.Vocab, lengths...), c.padding*(1-i))
				x.Rows, x.Seq = x.Rows+1, row.Seq
				x.IDs, x.Labels = append(x.IDs, row.IDs...), append(x.Labels, row.Labels...)
				x.Positions, x.Starts = append(x.Positions, row.Positions...), append(x.Starts, row.Starts...)
			}
			checkBesides(t, "with blockwise attention", func(compute dtypes.DType, flash bool) (float64, [][][]float32) {
				b := newBenchOn(t, dev, model.Config{Decoder: d, Compute: compute, Adapters: adapters(d, 4), Target: model.CUDA, Flash: flash})
				return b.run(x, true)
			})
		})
	}
}

// TestFlash holds cuDNN's attention to the blockwise one, in a whole model: the losses and the gradients of all adapters,
// computed in bfloat16, are as near to those in float32 with the one as with the other.
func TestFlash(t *testing.T) {
	dev := devicetest.Open(t)
	if targetOf(dev.Platform()) != model.CUDA {
		skip.Because(t, "cuDNN needs an NVIDIA GPU")
	}
	for _, c := range []struct{ heads, kvHeads, headDim, seq, window int }{
		{4, 2, 64, 128, 0},
		{8, 1, 128, 256, 0},
		{9, 3, 64, 200, 0}, // as SmolLM2's, and no multiple of cuDNN's tiles
		{4, 4, 96, 64, 0},
		{2, 1, 8, 24, 0},
		{2, 2, 16, 37, 0},
		{2, 1, 32, 1, 0},
		{4, 2, 64, 256, 40},
		{4, 2, 64, 256, 256},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			d := tiny(func(d *spec.Decoder) {
				d.Hidden, d.Heads, d.KVHeads, d.HeadDim, d.Rope.Dim, d.MaxPositions = 64, c.heads, c.kvHeads, c.headDim, c.headDim, 512
				if c.window > 0 {
					d.Window = []int{c.window, 0}
				}
			})
			x := batch(d, 2, c.seq, false)
			if c.seq == 1 {
				x.Labels[0], x.Labels[1] = 1, 2
			}
			checkBesides(t, "with blockwise attention", func(compute dtypes.DType, flash bool) (float64, [][][]float32) {
				b := newBenchOn(t, dev, model.Config{Decoder: d, Compute: compute, Adapters: adapters(d, 4), Target: model.CUDA, Flash: flash})
				return b.run(x, true)
			})
		})
	}
}
