package fsdp

import (
	"errors"
	"fmt"

	"gorun/csrc/device"
)

// update is an optimizer step that groups still wait for. A group is updated when something needs what it holds: in the
// next pass that is before it is gathered, so that a device is given the updates one by one between blocks, while it
// computes. All of them at the end of a pass are many programs that take no time, and the device would wait for the host.
type update struct {
	grads        [][]*device.Buffer // per group: this rank's shards of the sums; nil = it has been updated
	hyper, scale *device.Buffer
}

func (u *update) free() {
	if u == nil {
		return
	}
	device.FreeAll(append(u.grads, []*device.Buffer{u.hyper, u.scale})...)
}

// bring brings group l, and its lot with it, to where the steps taken have them.
func (s *State) bring(l int) error {
	u := s.update
	if u == nil || u.grads[l] == nil {
		return nil
	}
	from, to := s.lot(l)
	var old, m1, m2, grads []*device.Buffer
	for n, g := range s.groups[from:to] {
		for _, i := range g.trained {
			old = append(old, g.shards[i])
		}
		m1, m2, grads = append(m1, g.m1...), append(m2, g.m2...), append(grads, u.grads[from+n]...)
	}
	s.settle(to - 1)
	next, m1, m2, err := s.maths.Update(old, m1, m2, grads, s.rates(from, to), u.hyper, u.scale)
	if err != nil {
		return fmt.Errorf("update %s: %w", s.names(from, to), err)
	}
	s.spread(from, to, next, func(g *group, part []*device.Buffer) {
		for j, i := range g.trained {
			g.shards[i] = part[j]
		}
	})
	s.spread(from, to, m1, func(g *group, part []*device.Buffer) { g.m1 = part })
	s.spread(from, to, m2, func(g *group, part []*device.Buffer) { g.m2 = part })
	device.FreeAll(u.grads[from:to]...)
	clear(u.grads[from:to])
	return nil
}

// bringAll brings all groups.
func (s *State) bringAll() error {
	var errs []error
	for l := range s.groups {
		errs = append(errs, s.bring(l))
	}
	s.dropUpdate()
	return errors.Join(errs...)
}

// dropUpdate forgets the update of groups that are to be something else.
func (s *State) dropUpdate() {
	s.update.free()
	s.update = nil
}
