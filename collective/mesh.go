package collective

import (
	"errors"
	"fmt"
	"strings"
)

// Axis is one direction of the mesh. Ranks next to each other on a later axis are next to each other in rank, so the
// axes that talk most are the ones that stay within a node.
type Axis int

// The axes, outermost first.
const (
	Replicate Axis = iota // dp_replicate: copies of the sharded model, fed with different samples
	Shard                 // dp_shard: parts of the parameters, fed with different samples
	Context               // cp: parts of the sequence; parameters are sharded over it too
	Tensor                // tp: parts of each product
	axisCount
)

var axisNames = [axisCount]string{"dp_replicate", "dp_shard", "cp", "tp"}

// String is the axis's name in a recipe's words.
func (a Axis) String() string { return axisNames[a] }

// Sizes is the number of ranks along each axis. Shard 0 means what the world size leaves.
type Sizes struct{ Replicate, Shard, Context, Tensor int }

// Mesh is the grid of all ranks and this rank's place on it.
type Mesh struct {
	rank  int
	sizes [axisCount]int
}

// NewMesh places a rank among world ranks, or reports all faults at once.
func NewMesh(rank, world int, s Sizes) (Mesh, error) {
	m := Mesh{rank, [axisCount]int{s.Replicate, s.Shard, s.Context, s.Tensor}}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if world < 1 {
		bad("world size %d: there is at least one rank", world)
	}
	if rank < 0 || rank >= max(1, world) {
		bad("rank %d of %d: ranks count from 0", rank, world)
	}
	others := 1
	for a, n := range m.sizes {
		switch {
		case Axis(a) == Shard && n == 0:
		case n < 1:
			bad("%s of %d ranks: use 1 or more", Axis(a), n)
		case n > world:
			bad("%s of %d ranks, but there are %d: start more ranks or make it smaller", Axis(a), n, world)
		default:
			others *= n
		}
	}
	if len(faults) == 0 && s.Shard == 0 {
		m.sizes[Shard] = world / others
		if world%others != 0 {
			bad("%d ranks are no multiple of %s: change the number of ranks or these sizes", world, m.product(Replicate, Context, Tensor))
		}
	} else if len(faults) == 0 && others != world {
		bad("%s makes %d ranks, but there are %d: change the number of ranks or these sizes", m.product(Replicate, Shard, Context, Tensor), others, world)
	}
	if err := errors.Join(faults...); err != nil {
		return Mesh{}, fmt.Errorf("mesh: %w", err)
	}
	return m, nil
}

func (m Mesh) product(axes ...Axis) string {
	var parts []string
	for _, a := range axes {
		parts = append(parts, fmt.Sprintf("%s %d", a, m.sizes[a]))
	}
	return strings.Join(parts, " x ")
}

// String lists the axes of more than one rank: "dp_replicate 2 x dp_shard 4".
func (m Mesh) String() string {
	var axes []Axis
	for a, n := range m.sizes {
		if n > 1 {
			axes = append(axes, Axis(a))
		}
	}
	if axes == nil {
		return "one rank"
	}
	return m.product(axes...)
}

// Rank is this rank's number among all.
func (m Mesh) Rank() int { return m.rank }

// World is the number of ranks.
func (m Mesh) World() int { return m.Size(Replicate, Shard, Context, Tensor) }

// Size is the number of ranks of axes taken together.
func (m Mesh) Size(axes ...Axis) int {
	n := 1
	for _, a := range axes {
		n *= m.sizes[a]
	}
	return n
}

// Coordinate is this rank's place among the ranks of axes taken together, given outermost first.
func (m Mesh) Coordinate(axes ...Axis) int {
	at := m.coordinates()
	c := 0
	for _, a := range axes {
		c = c*m.sizes[a] + at[a]
	}
	return c
}

// Ranks lists the ranks of axes taken together, given outermost first: those that differ from this one along these axes
// alone. It is in the order of Coordinate, and holds this rank.
func (m Mesh) Ranks(axes ...Axis) []int {
	at := m.coordinates()
	for _, a := range axes {
		at[a] = 0
	}
	out := []int{m.number(at)}
	for i := len(axes) - 1; i >= 0; i-- {
		stride := 1
		for _, n := range m.sizes[axes[i]+1:] {
			stride *= n
		}
		var wider []int
		for c := range m.sizes[axes[i]] {
			for _, r := range out {
				wider = append(wider, r+c*stride)
			}
		}
		out = wider
	}
	return out
}

func (m Mesh) coordinates() (at [axisCount]int) {
	rest := m.rank
	for a := axisCount - 1; a >= 0; a-- {
		at[a] = rest % m.sizes[a]
		rest /= m.sizes[a]
	}
	return at
}

func (m Mesh) number(at [axisCount]int) int {
	n := 0
	for a := range axisCount {
		n = n*m.sizes[a] + at[a]
	}
	return n
}
