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

// batchBytes and batchTensors are how much is gathered at once, of tensors that are smaller: an adapter's many would each
// wait for all ranks on their own.
const (
	batchBytes   = 64 << 20
	batchTensors = 64
)

// held is a trained parameter as this rank holds it: its shard and those of its moments.
type held struct {
	Param
	shards [3]*device.Buffer
}

// Snapshot reads all trained parameters and their moments, waiting for the steps that make them, and gives them to take,
// one by one. Every rank calls it; those that do not keep take nothing. On the device no more is made whole at a time,
// beside the shards, than batchBytes or one tensor with its moments.
func (s *State) Snapshot(keep bool, take func(Tensor) error) error {
	var all []held
	for _, g := range s.groups {
		for j, i := range g.trained {
			all = append(all, held{g.params[i], [3]*device.Buffer{g.shards[i], g.m1[j], g.m2[j]}})
		}
	}
	for lo, hi := 0, 0; lo < len(all); lo = hi {
		for size := 0; hi < len(all); hi++ {
			size += 3 * all[hi].Shape.Bytes()
			if hi > lo && size > batchBytes || hi == lo+batchTensors {
				break
			}
		}
		what := fmt.Sprintf("tensors %d to %d for a checkpoint", lo+1, hi)
		batch, err := s.read(what, all[lo:hi], keep)
		if err != nil {
			return fmt.Errorf("fsdp: %s: %w", what, err)
		}
		for _, t := range batch {
			if err := take(t); err != nil {
				return fmt.Errorf("fsdp: keep %s: %w", t.Name, err)
			}
		}
	}
	return nil
}

// read makes tensors whole, with all of their parts and their moments, and, if they are kept, brings them to the host.
func (s *State) read(what string, from []held, keep bool) (out []Tensor, err error) {
	var shards, parts []*device.Buffer
	var whole, all []device.Shape
	var split []int // indexes of what is in parts
	for _, h := range from {
		for _, b := range h.shards {
			if h.Split {
				split = append(split, len(shards))
				all = append(all, stacked(h.Shape, s.ranks.Tensor.Size()))
			}
			shards, whole = append(shards, b), append(whole, h.Shape)
		}
	}
	tensors, err := s.ranks.Shard.AllGather(what, shards, whole)
	if err != nil {
		return nil, err
	}
	defer freeOthers(tensors, shards)
	if split != nil {
		for _, i := range split {
			parts = append(parts, tensors[i])
		}
		stacks, err := s.ranks.Tensor.AllGather(what, parts, all)
		if err != nil {
			return nil, err
		}
		defer freeOthers(stacks, parts)
		tensors = slices.Clone(tensors)
		for n, i := range split {
			tensors[i] = stacks[n]
		}
	}
	for j := 0; keep && j < len(from); j++ {
		t := Tensor{Param: from[j].Param}
		for n, dst := range []*[]byte{&t.Data, &t.M1, &t.M2} {
			b := tensors[3*j+n]
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
