package fsdp

import (
	"fmt"
	"slices"

	"gorun/csrc/device"
)

// Tensor is a trained parameter with its moments, whole, on the host; float32, row-major. Of one with Split it is all of
// Tensor's parts, one behind the other in the order of ranks.
type Tensor struct {
	Param
	Data, M1, M2 []byte
}

// batchBytes is how much is gathered at once, of tensors that are smaller: an adapter's many would each wait for all
// ranks on their own.
const batchBytes = 64 << 20

// Snapshot reads all trained parameters and their moments, waiting for the steps that make them, and gives them to take,
// one by one. Every rank calls it; those that do not keep take nothing. On the device no more is made whole at a time,
// beside the shards, than batchBytes or one tensor with its moments.
func (s *State) Snapshot(keep bool, take func(Tensor) error) error {
	for _, g := range s.groups {
		for lo, hi := 0, 0; lo < len(g.trained); lo = hi {
			for size := 0; hi < len(g.trained); hi++ {
				size += 3 * g.params[g.trained[hi]].Shape.Bytes()
				if hi > lo && size > batchBytes {
					break
				}
			}
			batch, err := s.read(g, lo, hi, keep)
			if err != nil {
				return fmt.Errorf("fsdp: read %s: %w", g.name, err)
			}
			for _, t := range batch {
				if err := take(t); err != nil {
					return fmt.Errorf("fsdp: keep %s: %w", t.Name, err)
				}
			}
		}
	}
	return nil
}

// read makes trained parameters lo to hi of a group whole, with all of their parts and their moments, and, if they are
// kept, brings them to the host.
func (s *State) read(g *group, lo, hi int, keep bool) (out []Tensor, err error) {
	var shards, parts []*device.Buffer
	var whole, all []device.Shape
	var split []int // indexes of what is in parts
	for j := lo; j < hi; j++ {
		p := g.params[g.trained[j]]
		for _, b := range []*device.Buffer{g.shards[g.trained[j]], g.m1[j], g.m2[j]} {
			if p.Split {
				split = append(split, len(shards))
				all = append(all, stacked(p.Shape, s.ranks.Tensor.Size()))
			}
			shards, whole = append(shards, b), append(whole, p.Shape)
		}
	}
	tensors, err := s.ranks.Shard.AllGather(g.name+" for a checkpoint", shards, whole)
	if err != nil {
		return nil, err
	}
	defer freeOthers(tensors, shards)
	if split != nil {
		for _, i := range split {
			parts = append(parts, tensors[i])
		}
		stacks, err := s.ranks.Tensor.AllGather(g.name+" for a checkpoint", parts, all)
		if err != nil {
			return nil, err
		}
		defer freeOthers(stacks, parts)
		tensors = slices.Clone(tensors)
		for n, i := range split {
			tensors[i] = stacks[n]
		}
	}
	for j := lo; keep && j < hi; j++ {
		t := Tensor{Param: g.params[g.trained[j]]}
		for n, dst := range []*[]byte{&t.Data, &t.M1, &t.M2} {
			b := tensors[3*(j-lo)+n]
			*dst = make([]byte, b.Shape().Bytes())
			if err := b.Download(*dst); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// freeOthers frees the buffers that are not those that they were made of: one rank's are.
func freeOthers(made, of []*device.Buffer) {
	for i, b := range made {
		if b != of[i] {
			b.Free()
		}
	}
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
