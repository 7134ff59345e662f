package fsdp

import (
	"context"
	"fmt"
	"slices"

	"gorun/collective"
	"gorun/csrc/device"
)

// Pass is one optimizer step over the state, or, without Finish, a forward pass over it. Its methods are called by one
// goroutine, and every rank calls them in the same order: that order is the order of the collectives.
type Pass struct {
	s       *State
	ctx     context.Context
	err     error
	whole   [][]*device.Buffer // per group: unsharded parameters; nil while sharded
	kept    [][]*device.Buffer // per group: of its parameters those that are trained, whole, where they stay so; else nil
	copies  [][]*device.Buffer // per group: on the device, of shards that lie in host memory
	grads   [][]*device.Buffer // per group: sums over micro-batches
	reduced [][]*device.Buffer // per group: this rank's shard of the sum over ranks
	squares []*device.Buffer   // per lot, at its first group: the sum of the squares that count on this rank; nil = none
	losses  []*device.Buffer
	tokens  int

	gathers  []collective.Work // per group: a prefetch that nobody has needed yet
	reducing []*reduction      // what is under way, in order
}

// Begin opens a pass. Cancelling ctx ends it with the context's error.
func (s *State) Begin(ctx context.Context) *Pass {
	n := len(s.groups)
	lists := func() [][]*device.Buffer { return make([][]*device.Buffer, n) }
	return &Pass{s: s, ctx: ctx, whole: lists(), kept: lists(), copies: lists(), grads: lists(), reduced: lists(),
		gathers: make([]collective.Work, n), squares: make([]*device.Buffer, n)}
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
func (p *Pass) Root() []*device.Buffer { return p.Unshard(p.RootGroup()) }

// RootGroup is the number of the root group.
func (p *Pass) RootGroup() int { return len(p.s.groups) - 1 }

// Unshard returns the whole parameters of group l.
func (p *Pass) Unshard(l int) []*device.Buffer {
	p.Prefetch(l)
	if p.failed() {
		return nil
	}
	if w := p.gathers[l]; w != nil {
		p.gathers[l] = nil
		made, err := w.Wait()
		if err != nil {
			p.Fail(err)
			return nil
		}
		p.assemble(l, made)
		if p.s.ranks.Shard.Size() > 1 { // else the copies are what is whole
			p.dropCopies(l)
		}
		if l == p.RootGroup() && p.s.keepsRoot() {
			p.s.root = p.whole[l]
		}
	}
	return p.whole[l]
}

// Prefetch unshards group l, if there is one of that number, so that a later Unshard finds it whole. The device goes on
// meanwhile with what it was given before.
func (p *Pass) Prefetch(l int) {
	if l < 0 || l >= len(p.whole) || p.failed() || p.whole[l] != nil || p.gathers[l] != nil {
		return
	}
	if l == p.RootGroup() && p.s.root != nil {
		p.whole[l] = p.s.root
		return
	}
	g := p.s.groups[l]
	if err := p.s.bring(l); err != nil {
		p.Fail(err)
		return
	}
	shards, whole, err := p.missing(l)
	if err != nil {
		p.Fail(fmt.Errorf("copy %s to the device: %w", g.name, err))
		return
	}
	name := g.name
	if p.kept[l] != nil {
		name += ", frozen"
	}
	w, err := p.s.ranks.Shard.StartAllGather(name, shards, whole)
	if err != nil {
		p.Fail(err)
		return
	}
	p.gathers[l] = w
}

// missing is this rank's shards of what is not whole of group l, where a collective or a program can have them: of those in
// host memory, copies, which the device makes beside what it was given before.
func (p *Pass) missing(l int) (shards []*device.Buffer, whole []device.Shape, err error) {
	g := p.s.groups[l]
	for i, param := range g.params {
		if param.Trained && p.kept[l] != nil {
			continue
		}
		b := g.shards[i]
		if p.s.offloaded(param) {
			if b, err = b.ToDevice(); err != nil {
				return nil, nil, err
			}
			p.copies[l] = append(p.copies[l], b)
		}
		shards, whole = append(shards, b), append(whole, g.whole[i])
	}
	return shards, whole, nil
}

// assemble makes group l's whole parameters of what was missing and what was kept, and keeps what is to be kept.
func (p *Pass) assemble(l int, made []*device.Buffer) {
	if !p.s.keepsTrained {
		p.whole[l] = made
		return
	}
	g := p.s.groups[l]
	have := p.kept[l] != nil
	if !have {
		p.kept[l] = make([]*device.Buffer, len(g.params))
	}
	p.whole[l] = slices.Clone(p.kept[l])
	for i, param := range g.params {
		if param.Trained && have {
			continue
		}
		p.whole[l][i], made = made[0], made[1:]
		if param.Trained {
			p.kept[l][i] = p.whole[l][i]
		}
	}
}

func (p *Pass) dropCopies(l int) {
	device.FreeAll(p.copies[l])
	p.copies[l] = nil
}

// Reshard frees what Unshard gathered, once the program that needs it has been queued. On one rank only copies of what lies
// in host memory are there to free. What is kept stays whole until the pass ends.
func (p *Pass) Reshard(l int) {
	if p.s.ranks.Shard.Size() > 1 && (l != p.RootGroup() || p.s.root == nil) {
		for i, b := range p.whole[l] {
			if p.kept[l] == nil || p.kept[l][i] == nil {
				b.Free()
			}
		}
	}
	p.whole[l] = nil
	p.dropCopies(l)
}

// ReshardAfterForward is Reshard where the backward pass is to gather the group again. The last block stays whole
// whatever the policy: its backward pass comes next.
func (p *Pass) ReshardAfterForward(l int) {
	if p.s.ranks.ReshardAfterForward && l != p.RootGroup()-1 {
		p.Reshard(l)
	}
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
		if w := p.gathers[l]; w != nil { // nobody has needed it, but its memory is free only after it
			if made, err := w.Wait(); err == nil {
				p.assemble(l, made)
			}
			p.gathers[l] = nil
		}
		if p.whole[l] != nil {
			p.Reshard(l)
		}
		p.dropCopies(l) // of a gathering that failed
		device.FreeAll(p.kept[l], p.grads[l], p.reduced[l])
		p.kept[l], p.grads[l], p.reduced[l] = nil, nil, nil
	}
	device.FreeAll(p.losses, p.squares)
	p.losses, p.squares = nil, nil
}
