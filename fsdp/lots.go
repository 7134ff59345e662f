package fsdp

import (
	"iter"
	"slices"

	"gorun/csrc/device"
)

// The gradients of several blocks are squared by one program, and as many blocks are updated by one: what a GPU does for a
// block takes it a few microseconds, less than beginning with a program does. Blocks that go together are a lot; which these
// are is the same on all ranks. The root group is a lot by itself.

// span is how many groups a lot has: as many as have at most the given number of trained tensors, at least one.
func span(groups []*group, tensors int) int {
	most := 1
	for _, g := range groups[:len(groups)-1] {
		most = max(most, len(g.trained))
	}
	return max(1, tensors/most)
}

// lot is the groups [from, to) that go together with group l.
func (s *State) lot(l int) (from, to int) {
	root := len(s.groups) - 1
	if l == root {
		return root, root + 1
	}
	from = l / s.span * s.span
	return from, min(from+s.span, root)
}

// lots goes through all of them, as lot gives them.
func (s *State) lots() iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		for from := 0; from < len(s.groups); {
			_, to := s.lot(from)
			if !yield(from, to) {
				return
			}
			from = to
		}
	}
}

// Trained lists the shapes of this rank's shards of the trained parameters, and their rates, as Maths is given them: for
// each lot that has any.
func (s *State) Trained() (out [][]device.Shape, rates [][]float64) {
	for from, to := range s.lots() {
		var shapes []device.Shape
		for _, g := range s.groups[from:to] {
			for _, i := range g.trained {
				_, _, shard := s.part(g.params[i])
				shapes = append(shapes, shard)
			}
		}
		if shapes != nil {
			out, rates = append(out, shapes), append(rates, s.rates(from, to))
		}
	}
	return out, rates
}

// rates are those of the trained parameters of groups [from, to).
func (s *State) rates(from, to int) (out []float64) {
	for _, g := range s.groups[from:to] {
		out = append(out, g.rates...)
	}
	return out
}

// names says which groups [from, to) are.
func (s *State) names(from, to int) string {
	if to-from == 1 {
		return s.groups[from].name
	}
	return s.groups[from].name + " to " + s.groups[to-1].name
}

// sum adds scalars up and consumes them.
func (s *State) sum(values []*device.Buffer) (*device.Buffer, error) {
	if len(values) == 1 {
		return values[0], nil
	}
	defer device.FreeAll(values)
	return s.maths.Sum(values)
}

// spread hands a list back to the groups [from, to), each its trained parameters' part.
func (s *State) spread(from, to int, list []*device.Buffer, give func(g *group, part []*device.Buffer)) {
	for _, g := range s.groups[from:to] {
		n := len(g.trained)
		give(g, slices.Clone(list[:n]))
		list = list[n:]
	}
}
