package infer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"gorun/model"
)

// Request is a batch of prompts to continue.
type Request struct {
	Prompts   [][]int32 // token ids, each at least one
	MaxTokens int       // longest continuation
	Stop      []int32   // ids that end a continuation; they are not part of it
	Sampling  Sampling
	LogProbs  int // also report so many likeliest tokens at each place

	// OnToken, if set, sees every token as it is made and may return false to end that row.
	OnToken func(row int, s Step) bool
}

// Step is one token of a continuation.
type Step struct {
	Token
	Likeliest []Token // Request.LogProbs of them, best first
}

// Continuation is what followed a prompt.
type Continuation struct {
	Steps   []Step
	Stopped bool // ended by a stop id (or OnToken), not by MaxTokens
}

// IDs are the tokens of the continuation.
func (c Continuation) IDs() []int32 {
	out := make([]int32, len(c.Steps))
	for i, s := range c.Steps {
		out[i] = s.ID
	}
	return out
}

// lengths that programs are compiled for, so that few prompts need a program of their own.
func bucket(n int) int {
	if n <= 1024 {
		return (n + 63) / 64 * 64
	}
	return (n + 511) / 512 * 512
}

// Generate continues all prompts together, a token per row and round.
func Generate(ctx context.Context, m *model.Model, p model.Params, req Request) ([]Continuation, error) {
	if len(req.Prompts) == 0 || req.MaxTokens < 1 {
		return nil, errors.New("infer: nothing to generate: give a prompt and at least one token to make")
	}
	if err := req.Sampling.Validate(); err != nil {
		return nil, fmt.Errorf("infer: %w", err)
	}
	g := &generation{m: m, p: p, req: req, out: make([]Continuation, len(req.Prompts)), rngs: make([]*rand.Rand, len(req.Prompts))}
	for row := range req.Prompts {
		g.rngs[row] = rand.New(rand.NewPCG(req.Sampling.Seed, uint64(row)))
	}
	return g.run(ctx)
}

type generation struct {
	m    *model.Model
	p    model.Params
	req  Request
	out  []Continuation
	rngs []*rand.Rand
}

func (g *generation) run(ctx context.Context) ([]Continuation, error) {
	rows, vocab := len(g.req.Prompts), g.m.Config().Decoder.Vocab
	longest := 0
	for i, ids := range g.req.Prompts {
		if len(ids) == 0 {
			return nil, fmt.Errorf("infer: prompt %d has no tokens", i)
		}
		for _, id := range ids {
			if id < 0 || int(id) >= vocab {
				return nil, fmt.Errorf("infer: prompt %d has token id %d, the vocabulary has %d", i, id, vocab)
			}
		}
		longest = max(longest, len(ids))
	}
	width := bucket(longest)
	dec, err := g.m.NewDecoding(rows, bucket(max(width, longest+g.req.MaxTokens)))
	if err != nil {
		return nil, err
	}
	defer dec.Close()

	ids, positions, last := make([]int32, rows*width), make([]int32, rows*width), make([]int32, rows)
	for r, prompt := range g.req.Prompts {
		copy(ids[r*width:], prompt)
		for i := range width {
			positions[r*width+i] = int32(i)
		}
		last[r] = int32(len(prompt) - 1)
	}
	done := make([]bool, rows)
	for made := 0; ; made++ {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		logits, err := dec.Feed(g.p, ids, positions, last)
		if err != nil {
			return nil, fmt.Errorf("infer: token %d: %w", made, err)
		}
		ids, positions, last = make([]int32, rows), make([]int32, rows), make([]int32, rows)
		for r := range rows {
			if !done[r] {
				done[r] = g.next(r, logits[r*vocab:(r+1)*vocab])
			}
			// A finished row goes on with its last token at its last place, unseen, while others finish.
			positions[r] = int32(len(g.req.Prompts[r]) + len(g.out[r].Steps) - 1)
			if n := len(g.out[r].Steps); n > 0 {
				ids[r] = g.out[r].Steps[n-1].ID
			}
		}
		if !slices.Contains(done, false) {
			return g.out, nil
		}
	}
}

// next picks a row's next token and tells whether the row is finished.
func (g *generation) next(r int, logits []float32) bool {
	s := Step{Token: g.req.Sampling.pick(logits, g.rngs[r]), Likeliest: likeliest(logits, g.req.LogProbs)}
	if slices.Contains(g.req.Stop, s.ID) {
		g.out[r].Stopped = true
		return true
	}
	g.out[r].Steps = append(g.out[r].Steps, s)
	if g.req.OnToken != nil && !g.req.OnToken(r, s) {
		g.out[r].Stopped = true
		return true
	}
	return len(g.out[r].Steps) == g.req.MaxTokens
}
