package fsdp

import (
	"fmt"
	"sync/atomic"
	"time"

	"gorun/csrc/device"
)

// Reading is a state at one step on its way to the host, while training goes on. What makes that safe is that only an
// update changes parameters and moments, and that it waits for a group to have been read before it consumes it. So
// nothing is copied on the device, and training waits only for what a forward and a backward pass did not cover.
//
// Rejected: a copy on the device, which holds the state twice where memory is shortest; updates that leave their inputs
// alone while these are being read, which do the same, and in other programs than all other steps.
type Reading struct {
	steps   int
	groups  []chan struct{} // per group: closed when it is on the host, or never will be
	tensors []Tensor        // written until the last group's channel is closed
	err     error           // likewise
	waited  atomic.Int64    // nanoseconds that updates waited
}

// Read begins to read all trained parameters and their moments, on a state that lies on this rank alone. One Reading of
// a state is under way at a time: Read waits for the one before.
func (s *State) Read() *Reading {
	s.settle(len(s.groups) - 1)
	r := &Reading{steps: s.steps}
	sources := make([][]held, len(s.groups))
	for l, g := range s.groups {
		r.groups = append(r.groups, make(chan struct{}))
		for j, i := range g.trained {
			sources[l] = append(sources[l], held{g.params[i], [3]*device.Buffer{g.shards[i], g.m1[j], g.m2[j]}})
		}
	}
	go func() {
		for l, group := range sources {
			for _, x := range group {
				if r.err == nil {
					r.read(x)
				}
			}
			close(r.groups[l])
		}
	}()
	s.reading = r
	return r
}

// read brings one tensor and its moments to the host.
func (r *Reading) read(from held) {
	t := Tensor{Param: from.Param}
	for i, dst := range []*[]byte{&t.Data, &t.M1, &t.M2} {
		*dst = make([]byte, from.Shape.Bytes())
		if err := from.shards[i].Download(*dst); err != nil {
			r.err = fmt.Errorf("fsdp: read %s: %w", from.Name, err)
			return
		}
	}
	r.tensors = append(r.tensors, t)
}

// Steps is the number of optimizer steps that the state had taken.
func (r *Reading) Steps() int { return r.steps }

// Tensors waits for all of it.
func (r *Reading) Tensors() ([]Tensor, error) {
	for _, g := range r.groups {
		<-g
	}
	return r.tensors, r.err
}

// Waited is for how long updates have waited for it so far.
func (r *Reading) Waited() time.Duration { return time.Duration(r.waited.Load()) }

// settle waits until group l, and those before it, may be changed.
func (s *State) settle(l int) {
	r := s.reading
	if r == nil {
		return
	}
	start := time.Now()
	for _, g := range r.groups[:l+1] {
		<-g
	}
	r.waited.Add(int64(time.Since(start)))
	if l == len(r.groups)-1 {
		s.reading = nil
	}
}
