package fsdp

import (
	"context"
	"errors"
	"fmt"

	"gorun/csrc/device"
)

// Pass is one optimizer step over the state, or, without Finish, a forward pass over it. Its methods are called by one
// goroutine, and every rank calls them in the same order: that order is the order of the collectives.
type Pass struct {
	s       *State
	ctx     context.Context
	err     error
	whole   [][]*device.Buffer // per group: unsharded parameters; nil while sharded
	grads   [][]*device.Buffer // per group: sums over micro-batches
	reduced [][]*device.Buffer // per group: this rank's shard of the sum over ranks
	losses  []*device.Buffer
	tokens  int
}

// Begin opens a pass. Cancelling ctx ends it with the context's error.
func (s *State) Begin(ctx context.Context) *Pass {
	n := len(s.groups)
	return &Pass{s: s, ctx: ctx, whole: make([][]*device.Buffer, n), grads: make([][]*device.Buffer, n), reduced: make([][]*device.Buffer, n)}
}

// Fail keeps the first error.
func (p *Pass) Fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// Err is the first error.
func (p *Pass) Err() error { return p.err }

// failed also notices a cancelled context.
func (p *Pass) failed() bool {
	if p.err == nil && p.ctx.Err() != nil {
		p.err = context.Cause(p.ctx)
	}
	return p.err != nil
}

// Root returns the root group's whole parameters; it stays unsharded for the length of the pass.
func (p *Pass) Root() []*device.Buffer { return p.Unshard(len(p.s.groups) - 1) }

// RootGroup is the number of the root group.
func (p *Pass) RootGroup() int { return len(p.s.groups) - 1 }

// Unshard returns the whole parameters of group l.
func (p *Pass) Unshard(l int) []*device.Buffer {
	p.Prefetch(l)
	if p.failed() {
		return nil
	}
	return p.whole[l]
}

// Prefetch starts to unshard group l, if there is one of that number, so that a later Unshard finds it whole.
func (p *Pass) Prefetch(l int) {
	if l < 0 || l >= len(p.whole) || p.failed() || p.whole[l] != nil {
		return
	}
	whole, err := p.s.comm.AllGather(fmt.Sprintf("group %d", l), p.s.groups[l].shards, nil)
	if err != nil {
		p.Fail(err)
		return
	}
	p.whole[l] = whole
}

// Reshard frees what Unshard gathered. On one rank there is nothing to free.
func (p *Pass) Reshard(l int) {
	if p.s.comm.Size() > 1 {
		device.FreeAll(p.whole[l])
	}
	p.whole[l] = nil
}

// AddLoss takes the sum of a micro-batch's losses (float32 scalar, consumed) and the number of its valid tokens.
func (p *Pass) AddLoss(loss *device.Buffer, tokens int) {
	if loss != nil {
		p.losses = append(p.losses, loss)
	}
	p.tokens += tokens
}

// Accumulate takes the gradients of group l's trained parameters from one micro-batch (sums over tokens, consumed).
func (p *Pass) Accumulate(l int, grads []*device.Buffer) {
	if len(grads) == 0 {
		return
	}
	if p.failed() {
		device.FreeAll(grads)
		return
	}
	if p.grads[l] == nil {
		p.grads[l] = grads
		return
	}
	sum, err := p.s.maths.Add(l, p.grads[l], grads)
	device.FreeAll(grads)
	if err != nil {
		p.Fail(fmt.Errorf("accumulate group %d: %w", l, err))
		return
	}
	p.grads[l] = sum
}

// ReduceScatter sums group l's accumulated gradients over the ranks and keeps this rank's shard.
func (p *Pass) ReduceScatter(l int) {
	if p.failed() || p.grads[l] == nil {
		return
	}
	shard, err := p.s.comm.ReduceScatter(fmt.Sprintf("group %d", l), p.grads[l])
	if err != nil {
		p.Fail(err)
		return
	}
	if p.s.comm.Size() > 1 {
		device.FreeAll(p.grads[l])
	}
	p.grads[l], p.reduced[l] = nil, shard
}

// Step is the outcome of a pass, still on the device.
type Step struct {
	Tokens int // valid tokens, over all ranks and micro-batches
	losses []*device.Buffer
	norm   *device.Buffer
}

// Finish divides the sums once by the number of valid tokens, clips to the norm most (0 = no clipping) and updates the
// parameters. It waits for nothing: Step.Read does.
func (p *Pass) Finish(lr, most float64) (*Step, error) {
	defer p.free()
	if p.failed() {
		return nil, p.err
	}
	if p.tokens == 0 {
		return nil, errors.New("fsdp: a step without a single supervised token: check the data set's labels")
	}
	step := &Step{Tokens: p.tokens, losses: p.losses}
	p.losses = nil
	if err := p.update(step, lr, most); err != nil {
		step.free()
		return nil, err
	}
	return step, nil
}

func (p *Pass) update(step *Step, lr, most float64) error {
	s := p.s
	var squares []*device.Buffer
	defer func() { device.FreeAll(squares) }()
	for l := range s.groups {
		if p.reduced[l] == nil {
			continue
		}
		sq, err := s.maths.Squares(l, p.reduced[l])
		if err != nil {
			return fmt.Errorf("gradient norm of group %d: %w", l, err)
		}
		squares = append(squares, sq)
	}
	scale, norm, err := s.maths.Clip(squares, p.tokens, most)
	if err != nil {
		return fmt.Errorf("clip: %w", err)
	}
	defer scale.Free()
	step.norm = norm
	hyper, err := s.maths.Hyper(s.steps+1, lr)
	if err != nil {
		return err
	}
	defer hyper.Free()
	for l, g := range s.groups {
		if p.reduced[l] == nil {
			continue
		}
		old := make([]*device.Buffer, len(g.trained))
		for j, i := range g.trained {
			old[j] = g.shards[i]
		}
		next, m1, m2, err := s.maths.Update(l, old, g.m1, g.m2, p.reduced[l], hyper, scale)
		if err != nil {
			return fmt.Errorf("update group %d: %w", l, err)
		}
		for j, i := range g.trained {
			g.shards[i] = next[j]
		}
		g.m1, g.m2 = m1, m2
	}
	s.steps++
	return nil
}

// Close ends a pass that is not finished: a forward pass, or one given up.
func (p *Pass) Close() error {
	p.free()
	return p.err
}

func (p *Pass) free() {
	for l := range p.whole {
		if p.whole[l] != nil {
			p.Reshard(l)
		}
		device.FreeAll(p.grads[l], p.reduced[l])
		p.grads[l], p.reduced[l] = nil, nil
	}
	device.FreeAll(p.losses)
	p.losses = nil
}

// Read waits for the step and returns the mean loss over its valid tokens and the norm of the mean gradient.
func (s *Step) Read() (loss, norm float64, err error) {
	defer s.free()
	for _, b := range s.losses {
		v, err := b.ToScalar()
		if err != nil {
			return 0, 0, err
		}
		loss += float64(v)
	}
	n, err := s.norm.ToScalar()
	return loss / float64(s.Tokens), float64(n), err
}

func (s *Step) free() {
	device.FreeAll(s.losses, []*device.Buffer{s.norm})
}
