package model

import (
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/spec"
)

// TestSingleKernels: which blocks and how many texts kernels make tokens of.
func TestSingleKernels(t *testing.T) {
	for name, c := range map[string]struct {
		edit     func(*spec.Decoder)
		rows     int
		ok, down bool // whether there are kernels, and one for the last product
	}{
		"one text":        {rows: 1, ok: true, down: true},
		"three":           {rows: 3, ok: true, down: true},
		"eight":           {rows: 8, ok: true},
		"nine":            {rows: 9},
		"norms of heads":  {rows: 1, edit: func(d *spec.Decoder) { d.QKNorm = true }},
		"a cap of scores": {rows: 1, edit: func(d *spec.Decoder) { d.AttentionCap = 50 }},
		"GELU":            {rows: 1, edit: func(d *spec.Decoder) { d.Activation = spec.GELUTanh }},
	} {
		d := &spec.Decoder{
			Family: "llama", Layers: 1, Hidden: 4096, Intermediate: 14336, Heads: 32, KVHeads: 8, HeadDim: 128, Vocab: 128256,
			MaxPositions: 8192, NormEps: 1e-5, Activation: "silu", Rope: spec.Rope{Theta: 5e5, Dim: 128, Kind: "default"},
		}
		if c.edit != nil {
			c.edit(d)
		}
		cfg := Config{Decoder: d, Compute: dtypes.BFloat16, Target: CUDA, Kernels: true}
		b, err := newBlock(cfg, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := b.singleKernels(cfg, c.rows, 1024); ok != c.ok || ok && s.down.Fits() != c.down {
			t.Errorf("%s: kernels %t, of the last product %t", name, ok, s.down.Fits())
		}
	}
}
