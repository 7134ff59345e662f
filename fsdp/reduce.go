package fsdp

import (
	"fmt"

	"gorun/collective"
	"gorun/csrc/device"
)

// reduction is a group's gradients on their way over the ranks: summed over Shard first, then over Replicate.
type reduction struct {
	group int
	work  collective.Work
	shard []*device.Buffer // nil until it is summed over Shard
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
	sum, err := p.s.maths.Add(p.grads[l], grads)
	device.FreeAll(grads)
	if err != nil {
		p.Fail(fmt.Errorf("accumulate %s: %w", p.s.groups[l].name, err))
		return
	}
	p.grads[l] = sum
}

// ReduceScatter sums group l's accumulated gradients over the ranks and keeps this rank's shard. The device goes on
// meanwhile: each sum is waited for by the next ReduceScatter, or by Finish.
func (p *Pass) ReduceScatter(l int) {
	p.reduce()
	if p.failed() || p.grads[l] == nil {
		return
	}
	w, err := p.s.ranks.Shard.StartReduceScatter(p.s.groups[l].name, p.grads[l])
	if err != nil {
		p.Fail(err)
		return
	}
	p.reducing = append(p.reducing, &reduction{group: l, work: w})
}

// reduce takes each reduction one sum further.
func (p *Pass) reduce() {
	under := p.reducing
	p.reducing = nil
	for _, r := range under {
		sum, err := r.work.Wait()
		if err != nil {
			p.Fail(err)
			device.FreeAll(r.shard)
			continue
		}
		if r.shard != nil {
			device.FreeAll(r.shard)
			p.keep(r.group, sum)
			continue
		}
		if p.s.ranks.Shard.Size() > 1 {
			device.FreeAll(p.grads[r.group])
		}
		p.grads[r.group] = nil
		p.replicate(r.group, sum)
	}
}

// replicate takes the sum over Shard of a group's gradients on to Replicate.
func (p *Pass) replicate(l int, shard []*device.Buffer) {
	if p.s.ranks.Replicate.Size() == 1 || p.failed() {
		p.keep(l, shard)
		return
	}
	w, err := p.s.ranks.Replicate.StartAllReduce(p.s.groups[l].name, shard)
	if err != nil {
		p.Fail(err)
		device.FreeAll(shard)
		return
	}
	p.reducing = append(p.reducing, &reduction{l, w, shard})
}

// keep takes a group's gradients summed over all ranks. Their squares are summed when the last of its lot is there, while the
// device has blocks to compute, rather than in Finish, where it would wait for the host to queue the programs of all lots.
func (p *Pass) keep(l int, shard []*device.Buffer) {
	p.reduced[l] = shard
	if from, _ := p.s.lot(l); l == from { // backward passes come to it last
		p.square(from)
	}
}

// square sums the squares of the gradients of the lot that begins with a group.
func (p *Pass) square(from int) {
	_, to := p.s.lot(from)
	var counted []*device.Buffer
	for l := from; l < to; l++ {
		if p.reduced[l] != nil {
			counted = append(counted, p.s.counted(p.s.groups[l], p.reduced[l])...)
		}
	}
	if len(counted) == 0 || p.squares[from] != nil || p.failed() {
		return
	}
	var err error
	if p.squares[from], err = p.s.maths.Squares(counted); err != nil {
		p.Fail(fmt.Errorf("gradient norm of %s: %w", p.s.names(from, to), err))
	}
}

// settle takes all reductions to their end.
func (p *Pass) settle() {
	for len(p.reducing) > 0 {
		p.reduce()
	}
}
