package rank

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"gorun/model/export"
)

// Check compares the logits of an export, read back, with those of base and adapter, both computed in float32.
type Check struct {
	Prompt    string  `json:"prompt"`
	Positions []int32 `json:"positions"` // after which tokens of the prompt
	// RelativeError is the root mean square of the differences over that of the logits about their mean.
	RelativeError float64 `json:"relative_error"`
	Tolerance     float64 `json:"tolerance"` // most RelativeError that passes
	MaxError      float64 `json:"max_error"` // largest difference of two logits
	KL            float64 `json:"kl"`        // mean divergence from base and adapter, in nats per position
	SameTop       int     `json:"same_top"`  // positions with the same likeliest token
	// AdapterEffect is what RelativeError would be without the adapter: an export that lost it is off by so much.
	AdapterEffect float64 `json:"adapter_effect"`
}

// tolerances of the relative error, by how weights are stored. Rounding every weight by a relative e moves the logits by
// a few e: e is 2^-25 in float32 (and sums are ordered otherwise), 2^-12 in float16, 2^-9 in bfloat16, and about 1/250
// of a block's largest value in Q8_0.
var tolerances = map[string]float64{"f32": 1e-4, "f16": 1e-2, "bf16": 5e-2, "q8_0": 1.2e-1}

// probe is the prompt of the check: prose, digits, code, and letters beyond ASCII, so that tokenizers are compared too.
const probe = "In 1928, Alexander Fleming noticed that a mould had killed the bacteria around it.\n  def f(x): return x**2  # na\u00efve \u6d4b\u8bd5\nThe capital of France is"

// probed is how many positions of the probe are compared.
const probed = 8

// verify reads the files in dir back and compares.
func (e *exporter) verify(ctx context.Context, dir string) (Check, error) {
	ids, err := e.base.Encode(probe)
	if err != nil {
		return Check{}, err
	}
	ids = ids[max(0, len(ids)-e.base.Decoder.MaxPositions):]
	c := Check{Prompt: probe, Tolerance: tolerances[e.DType]}
	for i := range min(probed, len(ids)) {
		c.Positions = append(c.Positions, int32((i+1)*len(ids)/min(probed, len(ids))-1))
	}
	want, err := e.logits(ctx, e.base, e.from, ids, c.Positions)
	if err != nil {
		return c, err
	}
	got, err := e.readBack(ctx, dir, ids, c.Positions)
	if err != nil {
		return c, err
	}
	c.compare(got, want)
	if e.from != nil {
		plain, err := e.logits(ctx, e.base, nil, ids, c.Positions)
		if err != nil {
			return c, err
		}
		var lost Check
		lost.compare(plain, want)
		c.AdapterEffect = lost.RelativeError
	}
	if !(c.RelativeError <= c.Tolerance) {
		return c, fmt.Errorf("read back, its logits are off by %.3g (relative), more than the %.3g that storing as %s may cost (largest difference %.3g, KL %.3g, the adapter itself moves them by %.3g): the export was not kept",
			c.RelativeError, c.Tolerance, e.DType, c.MaxError, c.KL, c.AdapterEffect)
	}
	return c, nil
}

// logits computes a model's logits.
func (e *exporter) logits(ctx context.Context, base *Base, from *export.Adapter, ids, at []int32) (out [][]float32, err error) {
	s, err := OpenSession(e.Device, base, "f32", from)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Logits(ctx, ids, at)
}

// readBack computes the logits of what is in dir, with the tokenizer that is there.
func (e *exporter) readBack(ctx context.Context, dir string, ids, at []int32) (out [][]float32, err error) {
	path := dir
	switch e.Format {
	case FormatGGUFAdapter:
		from, err := export.ReadGGUFAdapter(filepath.Join(dir, ggufAdapterFile), e.base.Decoder)
		if err != nil {
			return nil, err
		}
		return e.logits(ctx, e.base, from, ids, at)
	case FormatPEFT, FormatVLLM:
		from, err := export.ReadPEFT(dir)
		if err != nil {
			return nil, err
		}
		return e.logits(ctx, e.base, from, ids, at)
	case FormatGGUF:
		path = filepath.Join(dir, ggufModelFile)
	}
	written, err := OpenBase(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, written.Close()) }()
	again, err := written.Encode(probe)
	if err != nil {
		return nil, err
	}
	if again = again[max(0, len(again)-e.base.Decoder.MaxPositions):]; !slices.Equal(again, ids) {
		return nil, fmt.Errorf("its tokenizer gives %v for the probe, the base's %v", again, ids)
	}
	return e.logits(ctx, written, nil, ids, at)
}

// compare fills in the differences of got from want, one list of logits per position.
func (c *Check) compare(got, want [][]float32) {
	var diff, spread float64
	for i, w := range want {
		g := got[i]
		mean := 0.0
		for _, v := range w {
			mean += float64(v) / float64(len(w))
		}
		for j, v := range w {
			d := float64(g[j]) - float64(v)
			diff += d * d
			spread += (float64(v) - mean) * (float64(v) - mean)
			c.MaxError = max(c.MaxError, math.Abs(d))
		}
		c.KL += divergence(w, g) / float64(len(want))
		if top(w) == top(g) {
			c.SameTop++
		}
	}
	c.RelativeError = math.Sqrt(diff / spread)
	if diff == 0 {
		c.RelativeError = 0 // also where all logits are equal
	}
}

func top(logits []float32) int { return slices.Index(logits, slices.Max(logits)) }

// divergence is the Kullback-Leibler divergence of softmax(q) from softmax(p), in nats.
func divergence(p, q []float32) float64 {
	norm := func(logits []float32) float64 {
		most, sum := float64(slices.Max(logits)), 0.0
		for _, v := range logits {
			sum += math.Exp(float64(v) - most)
		}
		return most + math.Log(sum)
	}
	np, nq, kl := norm(p), norm(q), 0.0
	for i := range p {
		logp := float64(p[i]) - np
		kl += math.Exp(logp) * (logp - (float64(q[i]) - nq))
	}
	return max(0, kl)
}
