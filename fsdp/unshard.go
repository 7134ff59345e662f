package fsdp

import (
	"fmt"

	"gorun/collective"
	"gorun/csrc/device"
)

// Direction is which passes of a step read a parameter, forward or backward.
type Direction int

// The directions.
const (
	Both Direction = iota
	Forward
	Backward
)

// readBy tells whether a pass of direction d reads the parameter.
func (p Param) readBy(d Direction) bool { return p.For == Both || p.For == d }

// gathering is a prefetch under way.
type gathering struct {
	work   collective.Work
	params []int            // which of the group's it makes whole
	copies []*device.Buffer // on the device, of shards that lie in host memory
}

// Root returns the root group's whole parameters; it stays unsharded for the length of the pass.
func (p *Pass) Root() []*device.Buffer { return p.Unshard(p.RootGroup()) }

// RootGroup is the number of the root group.
func (p *Pass) RootGroup() int { return len(p.s.groups) - 1 }

// Unshard returns group l's parameters as its forward pass takes them: whole, and nil in the place of those that it does
// not read.
func (p *Pass) Unshard(l int) []*device.Buffer { return p.unshard(l, Forward) }

// UnshardBackward is Unshard for the backward pass.
func (p *Pass) UnshardBackward(l int) []*device.Buffer { return p.unshard(l, Backward) }

// Prefetch unshards group l, if there is one of that number, so that a later Unshard finds it whole. The device goes on
// meanwhile with what it was given before.
func (p *Pass) Prefetch(l int) { p.prefetch(l, Forward) }

// PrefetchBackward is Prefetch for UnshardBackward.
func (p *Pass) PrefetchBackward(l int) { p.prefetch(l, Backward) }

func (p *Pass) unshard(l int, d Direction) []*device.Buffer {
	p.await(l)
	p.prefetch(l, d)
	p.await(l)
	if p.failed() {
		return nil
	}
	return p.whole[l]
}

// await takes a prefetch of group l to its end.
func (p *Pass) await(l int) {
	if p.gathers[l] != nil && !p.failed() {
		p.take(l)
	}
}

func (p *Pass) prefetch(l int, d Direction) {
	if l < 0 || l >= len(p.whole) || p.failed() || p.gathers[l] != nil {
		return
	}
	if l == p.RootGroup() && p.s.root != nil {
		p.whole[l] = p.s.root
	}
	missing := p.missing(l, d)
	if missing == nil {
		return
	}
	if err := p.s.bring(l); err != nil {
		p.Fail(err)
		return
	}
	g, err := p.gather(l, missing)
	if err != nil {
		p.Fail(err)
		return
	}
	p.gathers[l] = g
}

// missing are the parameters of group l that a pass of direction d reads and that are sharded.
func (p *Pass) missing(l int, d Direction) (out []int) {
	for i, param := range p.s.groups[l].params {
		if param.readBy(d) && (p.whole[l] == nil || p.whole[l][i] == nil) {
			out = append(out, i)
		}
	}
	return out
}

// gather begins to make parameters of group l whole: of shards in host memory, copies, which the device makes beside what
// it was given before.
func (p *Pass) gather(l int, params []int) (_ *gathering, err error) {
	group, g := p.s.groups[l], &gathering{params: params}
	defer func() {
		if err != nil {
			device.FreeAll(g.copies)
		}
	}()
	var shards []*device.Buffer
	var whole []device.Shape
	for _, i := range params {
		b := group.shards[i]
		if p.s.offloaded(group.params[i]) {
			if b, err = b.ToDevice(); err != nil {
				return nil, fmt.Errorf("copy %s to the device: %w", group.name, err)
			}
			g.copies = append(g.copies, b)
		}
		shards, whole = append(shards, b), append(whole, group.whole[i])
	}
	name := group.name
	if p.whole[l] != nil {
		name += ", frozen" // what is trained, both passes read
	}
	g.work, err = p.s.ranks.Shard.StartAllGather(name, shards, whole)
	return g, err
}

// take waits for a prefetch of group l, and keeps what it has made whole.
func (p *Pass) take(l int) {
	g := p.gathers[l]
	p.gathers[l] = nil
	made, err := g.work.Wait()
	if err != nil || p.s.ranks.Shard.Size() > 1 { // else the copies are what is whole
		device.FreeAll(g.copies)
	}
	if err != nil {
		p.Fail(err)
		return
	}
	if p.whole[l] == nil {
		p.whole[l] = make([]*device.Buffer, len(p.s.groups[l].params))
	}
	for j, i := range g.params {
		p.whole[l][i] = made[j]
	}
	if l == p.RootGroup() && p.s.keepsRoot() {
		p.s.root = p.whole[l]
	}
}

// Reshard frees what was made whole of group l, once the program that needs it has been queued; on one rank, copies of
// what lies in host memory. What is kept stays whole until the pass ends.
func (p *Pass) Reshard(l int) {
	p.drop(l, func(param Param) bool { return p.s.keepsTrained && param.Trained })
}

// ReshardAfterForward is Reshard where the backward pass is to gather the group again. The last block stays whole
// whatever the policy: its backward pass comes next. What only the forward pass reads is freed in any case.
func (p *Pass) ReshardAfterForward(l int) {
	if p.s.ranks.ReshardAfterForward && l != p.RootGroup()-1 {
		p.Reshard(l)
		return
	}
	p.drop(l, func(param Param) bool { return param.readBy(Backward) })
}

// drop reshards the parameters of group l that are not to stay.
func (p *Pass) drop(l int, stays func(Param) bool) {
	if l == p.RootGroup() && p.s.root != nil {
		p.whole[l] = nil
		return
	}
	left := false
	for i, b := range p.whole[l] {
		switch param := p.s.groups[l].params[i]; {
		case b == nil:
		case stays(param):
			left = true
		default:
			if p.s.ranks.Shard.Size() > 1 || p.s.offloaded(param) { // else it is the shard itself
				b.Free()
			}
			p.whole[l][i] = nil
		}
	}
	if !left {
		p.whole[l] = nil
	}
}
