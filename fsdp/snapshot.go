package fsdp

import (
	"fmt"

	"gorun/csrc/device"
)

// Tensor is a trained parameter with its moments, whole, on the host; float32, row-major.
type Tensor struct {
	Param
	Data, M1, M2 []byte
}

// Snapshot reads all trained parameters and their moments, waiting for the steps that make them. Every rank calls it;
// those that do not keep get no tensors. One tensor after the other is made whole on the device, so no device ever holds
// more than one beside its shards.
func (s *State) Snapshot(keep bool) (steps int, tensors []Tensor, err error) {
	for _, g := range s.groups {
		for j, i := range g.trained {
			t := Tensor{Param: g.params[i]}
			for _, c := range []struct {
				dst   *[]byte
				shard *device.Buffer
			}{{&t.Data, g.shards[i]}, {&t.M1, g.m1[j]}, {&t.M2, g.m2[j]}} {
				if *c.dst, err = s.read(t.Param, c.shard, keep); err != nil {
					return 0, nil, fmt.Errorf("fsdp: read %s: %w", t.Name, err)
				}
			}
			if keep {
				tensors = append(tensors, t)
			}
		}
	}
	return s.steps, tensors, nil
}

// read makes one tensor whole and, if it is kept, brings it to the host.
func (s *State) read(p Param, shard *device.Buffer, keep bool) (data []byte, err error) {
	whole, err := s.ranks.Shard.AllGather(p.Name, []*device.Buffer{shard}, []device.Shape{p.Shape})
	if err != nil {
		return nil, err
	}
	if whole[0] != shard {
		defer whole[0].Free()
	}
	if keep {
		data = make([]byte, p.Shape.Bytes())
		err = whole[0].Download(data)
	}
	return data, err
}

// Restore uploads this rank's shards of what Snapshot returned, on any number of ranks; get finds a tensor by name.
func (s *State) Restore(steps int, get func(name string) (Tensor, error)) error {
	s.settle(len(s.groups) - 1)
	for _, g := range s.groups {
		if len(g.m1) != len(g.trained) {
			g.m1, g.m2 = make([]*device.Buffer, len(g.trained)), make([]*device.Buffer, len(g.trained))
		}
		for j, i := range g.trained {
			p := g.params[i]
			t, err := get(p.Name)
			if err != nil {
				return fmt.Errorf("fsdp: restore %s: %w", p.Name, err)
			}
			for _, c := range []struct {
				dst **device.Buffer
				src []byte
			}{{&g.shards[i], t.Data}, {&g.m1[j], t.M1}, {&g.m2[j], t.M2}} {
				b, err := s.upload(p, rowsOf(p, c.src))
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

// rowsOf fills from a whole tensor on the host.
func rowsOf(p Param, data []byte) Fill {
	return func(lo, hi int, dst []byte) error {
		if len(data) != p.Shape.Bytes() {
			return fmt.Errorf("%d bytes, want %d for %s", len(data), p.Shape.Bytes(), p.Shape)
		}
		row := p.Shape.Bytes() / p.Shape.Dims[0]
		copy(dst, data[lo*row:hi*row])
		return nil
	}
}
