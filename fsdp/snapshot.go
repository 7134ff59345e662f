package fsdp

import (
	"fmt"
	"slices"

	"gorun/collective"
	"gorun/csrc/device"
)

// Tensor is a trained parameter with its moments, whole, on the host; float32, row-major. Of one with Split it is all of
// Tensor's parts, one behind the other in the order of ranks.
type Tensor struct {
	Param
	Data, M1, M2 []byte
}

// Snapshot reads all trained parameters and their moments, waiting for the steps that make them, and gives them to take,
// one by one. Every rank calls it; those that do not keep take nothing. One tensor after the other is made whole on the
// device, so no device ever holds more than one beside its shards.
func (s *State) Snapshot(keep bool, take func(Tensor) error) error {
	for _, g := range s.groups {
		for j, i := range g.trained {
			t := Tensor{Param: g.params[i]}
			for _, c := range []struct {
				dst   *[]byte
				shard *device.Buffer
			}{{&t.Data, g.shards[i]}, {&t.M1, g.m1[j]}, {&t.M2, g.m2[j]}} {
				var err error
				if *c.dst, err = s.read(t.Param, c.shard, keep); err != nil {
					return fmt.Errorf("fsdp: read %s: %w", t.Name, err)
				}
			}
			if !keep {
				continue
			}
			if err := take(t); err != nil {
				return fmt.Errorf("fsdp: keep %s: %w", t.Name, err)
			}
		}
	}
	return nil
}

// read makes one tensor whole, with all of its parts, and, if it is kept, brings it to the host.
func (s *State) read(p Param, shard *device.Buffer, keep bool) (data []byte, err error) {
	whole, err := gather(s.ranks.Shard, p.Name, shard, p.Shape)
	if err != nil {
		return nil, err
	}
	if whole != shard {
		defer whole.Free()
	}
	all := whole
	if p.Split {
		if all, err = gather(s.ranks.Tensor, p.Name, whole, stacked(p.Shape, s.ranks.Tensor.Size())); err != nil {
			return nil, err
		}
	}
	if all != whole {
		defer all.Free()
	}
	if keep {
		data = make([]byte, all.Shape().Bytes())
		err = all.Download(data)
	}
	return data, err
}

// gather makes one tensor whole; the caller frees it if it is not the shard itself.
func gather(among collective.Comm, what string, shard *device.Buffer, whole device.Shape) (*device.Buffer, error) {
	out, err := among.AllGather(what, []*device.Buffer{shard}, []device.Shape{whole})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// stacked is the shape of n tensors one behind the other.
func stacked(s device.Shape, n int) device.Shape {
	dims := slices.Clone(s.Dims)
	dims[0] *= n
	return device.Shape{DType: s.DType, Dims: dims}
}

// Saved is where a trained parameter and its moments are read from: rows of this rank's part of it.
type Saved struct{ Data, M1, M2 Fill }

// Restore uploads this rank's shards of what Snapshot gave, on any number of ranks; get finds a parameter, of which no
// rows are read but those that are held here.
func (s *State) Restore(steps int, get func(name string) (Saved, error)) error {
	s.settle(len(s.groups) - 1)
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
