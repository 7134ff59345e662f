package rank

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"gorun/configs"
	"gorun/model/infer"
)

// GenerateSpeed is the outcome of BenchGenerate; times in seconds.
type GenerateSpeed struct {
	Open     float64 `json:"open_s"`    // client, weights
	Prefill  float64 `json:"prefill_s"` // from the call to the first token, of all rows
	PrefillS float64 `json:"prefill_tok_s"`
	Token    float64 `json:"token_s"` // from one token to the next
	DecodeS  float64 `json:"decode_tok_s"`
	Weights  int64   `json:"weight_bytes"` // of all that a token reads but its cache
	MemGiB   float64 `json:"mem_gib"`      // peak of the device's allocator
	Kind     string  `json:"device"`
}

// BenchGenerate continues rows prompts of so many random ids greedily by so many tokens, once to compile and once to
// measure. The base is a path, or random weights of a known shape.
func BenchGenerate(ctx context.Context, d Device, path, dtype string, rows, prompt, tokens int) (res *GenerateSpeed, err error) {
	start := time.Now()
	base, err := openBench(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	s, err := OpenSession(d, base, dtype, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	res = &GenerateSpeed{Open: time.Since(start).Seconds(), Kind: s.dev.Kind()}
	rng := rand.New(rand.NewPCG(1, 2))
	req := infer.Request{Prompts: make([][]int32, rows), MaxTokens: tokens}
	for r := range req.Prompts {
		for range prompt {
			req.Prompts[r] = append(req.Prompts[r], int32(rng.IntN(base.Decoder.Vocab)))
		}
	}
	var first, last time.Time
	req.OnToken = func(row int, _ infer.Step) bool {
		if last = time.Now(); first.IsZero() && row == rows-1 {
			first = last
		}
		return true
	}
	for range 2 {
		first, start = time.Time{}, time.Now()
		if _, err := s.Generate(ctx, req); err != nil {
			return nil, err
		}
	}
	res.Prefill, res.Token = first.Sub(start).Seconds(), last.Sub(first).Seconds()/float64(tokens-1)
	res.PrefillS, res.DecodeS = float64(rows*prompt)/res.Prefill, float64(rows)/res.Token
	for _, g := range s.model.Groups() {
		for _, p := range g.Params {
			res.Weights += int64(p.Shape.Bytes())
		}
	}
	if !base.Decoder.TiedHead { // of the embedding a token reads a row
		res.Weights -= int64(base.Decoder.Vocab*base.Decoder.Hidden) * int64(s.model.Config().Compute.Size())
	}
	res.MemGiB = float64(s.dev.Memory().Peak) / gib
	return res, nil
}

func openBench(path string) (*Base, error) {
	if name, mock := strings.CutPrefix(path, configs.MockPrefix); mock {
		return openMock(name, "--base")
	}
	return OpenBase(path)
}
