package fsdp

import (
	"fmt"

	"gorun/csrc/device"
)

// Saved is where a trained parameter and its moments are read from: rows of this rank's part of it.
type Saved struct{ Data, M1, M2 Fill }

// Restore uploads this rank's shards of what a Reading gave, on any number of ranks; get finds a parameter, of which no
// rows are read but those that are held here.
func (s *State) Restore(steps int, get func(name string) (Saved, error)) error {
	s.settle(len(s.groups) - 1)
	s.dropUpdate()
	for _, g := range s.groups {
		if len(g.m1) != len(g.trained) {
			g.m1, g.m2 = make([]*device.Buffer, len(g.trained)), make([]*device.Buffer, len(g.trained))
		}
		for j, i := range g.trained {
			p := g.params[i]
			from, err := get(p.Name)
			if err != nil {
				return fmt.Errorf("fsdp: restore %s: %w", p.Name, err)
			}
			for _, c := range []struct {
				dst  **device.Buffer
				fill Fill
			}{{&g.shards[i], from.Data}, {&g.m1[j], from.M1}, {&g.m2[j], from.M2}} {
				b, err := s.upload(p, c.fill)
				if err != nil {
					return fmt.Errorf("fsdp: restore %s: %w", p.Name, err)
				}
				(*c.dst).Free()
				*c.dst = b
			}
		}
	}
	s.steps = steps
	return nil
}
