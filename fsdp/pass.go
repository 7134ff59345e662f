package fsdp

import (
	"context"

	"gorun/csrc/device"
)

// Pass is one optimizer step over the state, or, without Finish, a forward pass over it. Its methods are called by one
// goroutine, and every rank calls them in the same order: that order is the order of the collectives.
type Pass struct {
	s       *State
	ctx     context.Context
	err     error
	whole   [][]*device.Buffer // per group: its parameters that are unsharded, nil in the place of others; nil while all are sharded
	grads   [][]*device.Buffer // per group: sums over micro-batches
	reduced [][]*device.Buffer // per group: this rank's shard of the sum over ranks
	squares []*device.Buffer   // per lot, at its first group: the sum of the squares that count on this rank; nil = none
	losses  []*device.Buffer
	tokens  int

	gathers  []*gathering // per group: a prefetch that nobody has needed yet
	reducing []*reduction // what is under way, in order
}

// Begin opens a pass. Cancelling ctx ends it with the context's error.
func (s *State) Begin(ctx context.Context) *Pass {
	n := len(s.groups)
	lists := func() [][]*device.Buffer { return make([][]*device.Buffer, n) }
	return &Pass{s: s, ctx: ctx, whole: lists(), grads: lists(), reduced: lists(),
		gathers: make([]*gathering, n), squares: make([]*device.Buffer, n)}
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

// AddLoss takes the sum of a micro-batch's losses (float32 scalar, consumed) and the number of its valid tokens.
func (p *Pass) AddLoss(loss *device.Buffer, tokens int) {
	if loss != nil {
		p.losses = append(p.losses, loss)
	}
	p.tokens += tokens
}

// Close ends a pass that is not finished: a forward pass, or one given up.
func (p *Pass) Close() error {
	p.free()
	return p.err
}

func (p *Pass) free() {
	p.settle()
	for l := range p.whole {
		if p.gathers[l] != nil { // nobody has needed it, but its memory is free only after it
			p.take(l)
		}
		p.drop(l, func(Param) bool { return false })
		device.FreeAll(p.grads[l], p.reduced[l])
		p.grads[l], p.reduced[l] = nil, nil
	}
	device.FreeAll(p.losses, p.squares)
	p.losses, p.squares = nil, nil
}
