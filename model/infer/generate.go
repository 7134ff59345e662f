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
	g := &generation{m: m, p: p, req: req, out: make([]Continuation, len(req.Prompts)), done: make([]bool, len(req.Prompts)), rngs: make([]*rand.Rand, len(req.Prompts))}
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
	done []bool
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
	logits, err := dec.Feed(g.p, ids, positions, last)
	if err != nil {
		return nil, fmt.Errorf("infer: %w", err)
	}
	if g.req.Sampling.Temperature == 0 && g.req.LogProbs == 0 {
		return g.out, g.chain(ctx, dec, logits)
	}
	return g.out, g.draw(ctx, dec, logits)
}

// draw goes on from the logits after the prompts, all of which come to the host for each token.
func (g *generation) draw(ctx context.Context, dec *model.Decoding, logits []float32) (err error) {
	for made := 1; ; made++ {
		ids, positions := g.take(logits)
		if !slices.Contains(g.done, false) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if logits, err = dec.Feed(g.p, ids, positions, make([]int32, len(ids))); err != nil {
			return fmt.Errorf("infer: token %d: %w", made, err)
		}
	}
}

// take picks every row's next token from logits, and returns what to feed: a finished row goes on with its last token at
// its last place, unseen, while others finish.
func (g *generation) take(logits []float32) (ids, positions []int32) {
	rows := len(g.out)
	ids, positions = make([]int32, rows), make([]int32, rows)
	vocab := len(logits) / rows
	for r := range rows {
		if !g.done[r] {
			of := logits[r*vocab : (r+1)*vocab]
			g.next(r, Step{Token: g.req.Sampling.pick(of, g.rngs[r]), Likeliest: likeliest(of, g.req.LogProbs)})
		}
		positions[r] = int32(len(g.req.Prompts[r]) + len(g.out[r].Steps) - 1)
		if n := len(g.out[r].Steps); n > 0 {
			ids[r] = g.out[r].Steps[n-1].ID
		}
	}
	return ids, positions
}

// chain goes on from the logits after the prompts, greedily: the device picks tokens itself and, if it is one of its own,
// makes the next while the host reads the last. Finished rows go on, unseen, while others finish.
func (g *generation) chain(ctx context.Context, dec *model.Decoding, logits []float32) error {
	ids, positions := g.take(logits)
	if !slices.Contains(g.done, false) {
		return nil
	}
	first, err := dec.Given(ids, positions)
	if err != nil {
		return fmt.Errorf("infer: %w", err)
	}
	tokens := []*model.Token{first} // the last one read, and those that are made after it
	defer func() {
		for _, t := range tokens {
			t.Free()
		}
	}()
	ahead := 2
	if g.m.Config().Target == model.CPU { // host and device share their cores: nothing is won
		ahead = 1
	}
	for made := 1; slices.Contains(g.done, false); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for ; made < g.req.MaxTokens && len(tokens) <= ahead; made++ {
			next, err := dec.Next(g.p, tokens[len(tokens)-1])
			if err != nil {
				return fmt.Errorf("infer: token %d: %w", made, err)
			}
			tokens = append(tokens, next)
		}
		ids, logp, err := tokens[1].Read()
		if err != nil {
			return fmt.Errorf("infer: %w", err)
		}
		tokens[0].Free()
		tokens = tokens[1:]
		for r, id := range ids {
			if !g.done[r] {
				g.next(r, Step{Token: Token{id, float64(logp[r])}})
			}
		}
	}
	return nil
}

// next gives a row its next token, which may finish it.
func (g *generation) next(r int, s Step) {
	out := &g.out[r]
	if slices.Contains(g.req.Stop, s.ID) {
		out.Stopped, g.done[r] = true, true
		return
	}
	out.Steps = append(out.Steps, s)
	if g.req.OnToken != nil && !g.req.OnToken(r, s) {
		out.Stopped, g.done[r] = true, true
		return
	}
	g.done[r] = len(out.Steps) == g.req.MaxTokens
}
