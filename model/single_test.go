package model_test

import (
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/model"
	"gorun/model/spec"
)

// TestSingle holds tokens made by kernels to those made without: the logits after every token, in bfloat16, are as near to
// those in float32 with the ones as with the others.
func TestSingle(t *testing.T) {
	dev := devicetest.WithKernels(t)
	for _, c := range []struct {
		name string
		edit func(*spec.Decoder)
		dim  int
	}{
		{"bias, a part of each head turned", func(d *spec.Decoder) { d.QKVBias, d.Rope.Dim = true, 16 }, 0},
		{"adapters, a window", func(d *spec.Decoder) { d.Window = []int{3} }, 4},
		{"fused linears", func(d *spec.Decoder) { d.FusedQKV, d.FusedMLP = true, true }, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := tiny(func(d *spec.Decoder) {
				d.Layers, d.Hidden, d.Intermediate, d.HeadDim, d.Rope.Dim = 1, 24, 64, 32, 32
				c.edit(d)
			})
			logits := func(compute dtypes.DType, by bool) []float32 {
				cfg := model.Config{Decoder: d, Compute: compute, Target: model.CUDA, Kernels: by}
				if c.dim > 0 {
					cfg.Adapters = adapters(d, c.dim)
				}
				return newBenchOn(t, dev, cfg).continued([]int32{5, 3, 8, 1, 7, 2}, []int32{4, 6, 2, 9})
			}
			want := logits(dtypes.Float32, false)
			off, besides := distance(logits(dtypes.BFloat16, true), want), distance(logits(dtypes.BFloat16, false), want)
			if !(off < 2*besides+0.005) { // of so few logits, whose errors are a few roundings' chance
				t.Errorf("logits are off by %.4f of their size, without kernels by %.4f", off, besides)
			}
		})
	}
}

// continued feeds two texts of three tokens, then a token of each at a time, and returns all logits.
func (b *bench) continued(prompts, more []int32) (out []float32) {
	b.t.Helper()
	w := b.upload()
	defer device.FreeAll(w...)
	dec, err := b.m.NewDecoding(2, 8)
	if err != nil {
		b.t.Fatal(err)
	}
	defer dec.Close()
	logits, err := dec.Feed(params(w), prompts, []int32{0, 1, 2, 0, 1, 2}, []int32{2, 1})
	for i := 0; err == nil; i++ {
		out = append(out, logits...)
		if i == len(more)/2 {
			return out
		}
		logits, err = dec.Feed(params(w), more[2*i:2*i+2], []int32{int32(3 + i), int32(2 + i)}, []int32{0, 0})
	}
	b.t.Fatal(err)
	return nil
}

// TestChain: tokens that the device picks one after the other, none of them read before the next is made, are the
// likeliest by the logits, with their log-probabilities.
func TestChain(t *testing.T) {
	d := tiny(nil)
	b := newBench(t, model.Config{Decoder: d, Compute: dtypes.Float32, Adapters: adapters(d, 3)})
	w := b.upload()
	defer device.FreeAll(w...)
	const rows, tokens, capacity = 2, 4, 8
	start := func() *model.Decoding {
		dec, err := b.m.NewDecoding(rows, capacity)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(dec.Close)
		if err := dec.Fill(params(w), []int32{5, 3, 8, 1}, []int32{0, 1, 0, 1}); err != nil {
			t.Fatal(err)
		}
		return dec
	}
	chained := start()
	given, err := chained.Given([]int32{4, 9}, []int32{2, 2})
	if err != nil {
		t.Fatal(err)
	}
	list := []*model.Token{given}
	for range tokens {
		next, err := chained.Next(params(w), list[len(list)-1])
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, next)
	}
	defer func() {
		for _, token := range list {
			token.Free()
		}
	}()
	dec, ids := start(), []int32{4, 9}
	for i, token := range list[1:] {
		at := int32(2 + i)
		logits, err := dec.Feed(params(w), ids, []int32{at, at}, []int32{0, 0})
		if err != nil {
			t.Fatal(err)
		}
		got, logp, err := token.Read()
		if err != nil {
			t.Fatal(err)
		}
		for r := range rows {
			of := logits[r*d.Vocab : (r+1)*d.Vocab]
			if of[got[r]] != slices.Max(of) {
				t.Errorf("token %d of row %d: %d, whose logit is %g of at most %g", i, r, got[r], of[got[r]], slices.Max(of))
			}
			devicetest.AssertClose(t, "log-probability", logp[r:r+1], []float32{float32(logProb(of, got[r]))}, devicetest.RTol32, devicetest.ATol32)
		}
		ids = got
	}
	if _, err := chained.Given([]int32{1, 1}, []int32{0, capacity}); err == nil {
		t.Error("a place beyond the cache passes")
	}
}
