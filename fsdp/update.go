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

// bring brings group l to where the steps taken have it.
func (s *State) bring(l int) error {
	u, g := s.update, s.groups[l]
	if u == nil || u.grads[l] == nil {
		return nil
	}
	old := make([]*device.Buffer, len(g.trained))
	for j, i := range g.trained {
		old[j] = g.shards[i]
	}
	s.settle(l)
	next, m1, m2, err := s.maths.Update(old, g.m1, g.m2, u.grads[l], g.rates, u.hyper, u.scale)
	if err != nil {
		return fmt.Errorf("update %s: %w", g.name, err)
	}
	for j, i := range g.trained {
		g.shards[i] = next[j]
	}
	g.m1, g.m2 = m1, m2
	device.FreeAll(u.grads[l])
	u.grads[l] = nil
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
