package collective

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestMeshProperty: the ranks of any axes of any mesh are those that differ along them alone; they agree on the list,
// each stands in it at its coordinate, and the lists divide the world.
func TestMeshProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 4)
		s := Sizes{size.Draw(t, "replicate"), size.Draw(t, "shard"), size.Draw(t, "cp"), size.Draw(t, "tp")}
		world := s.Replicate * s.Shard * s.Context * s.Tensor
		var axes []Axis
		for a := range axisCount {
			if rapid.Bool().Draw(t, a.String()) {
				axes = append(axes, a)
			}
		}
		seen := make([]int, world)
		for rank := range world {
			m, err := NewMesh(rank, world, s)
			if err != nil {
				t.Fatal(err)
			}
			ranks := m.Ranks(axes...)
			if len(ranks) != m.Size(axes...) || ranks[m.Coordinate(axes...)] != rank {
				t.Fatalf("rank %d: ranks %v along %v, coordinate %d", rank, ranks, axes, m.Coordinate(axes...))
			}
			for i, r := range ranks {
				seen[r]++
				other, err := NewMesh(r, world, s)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(other.Ranks(axes...), ranks) || other.Coordinate(axes...) != i {
					t.Fatalf("ranks %d and %d disagree along %v", rank, r, axes)
				}
				for a := range axisCount {
					if !slices.Contains(axes, a) && other.Coordinate(a) != m.Coordinate(a) {
						t.Fatalf("ranks %d and %d differ along %s, not only along %v", rank, r, a, axes)
					}
				}
			}
		}
		for r, n := range seen {
			if m, _ := NewMesh(r, world, s); n != m.Size(axes...) {
				t.Fatalf("rank %d is in %d lists of %d", r, n, m.Size(axes...))
			}
		}
	})
}

func TestMesh(t *testing.T) {
	m, err := NewMesh(5, 8, Sizes{Replicate: 2, Context: 1, Tensor: 2})
	if err != nil {
		t.Fatal(err)
	}
	if m.String() != "dp_replicate 2 x dp_shard 2 x tp 2" || m.World() != 8 {
		t.Errorf("%s of %d", m, m.World())
	}
	for _, c := range []struct {
		axes []Axis
		want []int
	}{{[]Axis{Tensor}, []int{4, 5}}, {[]Axis{Shard, Context}, []int{5, 7}}, {[]Axis{Replicate}, []int{1, 5}}, {[]Axis{Replicate, Shard}, []int{1, 3, 5, 7}}, {nil, []int{5}}} {
		if got := m.Ranks(c.axes...); !slices.Equal(got, c.want) {
			t.Errorf("along %v: ranks %v, want %v", c.axes, got, c.want)
		}
	}
}

// TestMeshRefuses: all faults at once, each with what was given.
func TestMeshRefuses(t *testing.T) {
	for _, c := range []struct {
		rank, world int
		s           Sizes
		want        []string
	}{
		{8, 8, Sizes{1, 0, 1, 1}, []string{"rank 8 of 8"}},
		{-1, 0, Sizes{0, -1, 1, 9}, []string{"world size 0", "rank -1", "dp_replicate of 0", "dp_shard of -1", "tp of 9"}},
		{0, 6, Sizes{1, 0, 1, 4}, []string{"6 ranks are no multiple of dp_replicate 1 x cp 1 x tp 4"}},
		{0, 8, Sizes{2, 2, 1, 1}, []string{"makes 4 ranks, but there are 8"}},
	} {
		_, err := NewMesh(c.rank, c.world, c.s)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", c, err, want)
			}
		}
	}
}

// TestPartProperty: parts are in order, next to each other, no longer than a shard, and together the whole; they are as
// torch.chunk divides.
func TestPartProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, size := rapid.IntRange(0, 100).Draw(t, "n"), rapid.IntRange(1, 12).Draw(t, "size")
		at := 0
		for r := range size {
			lo, hi := Part(n, size, r)
			if lo != at || hi < lo || hi-lo > ShardRows(n, size) {
				t.Fatalf("part %d of %d rows among %d: [%d,%d) after %d", r, n, size, lo, hi, at)
			}
			if hi-lo < ShardRows(n, size) && hi != n {
				t.Fatalf("part %d of %d rows among %d is short before the end", r, n, size)
			}
			at = hi
		}
		if at != n {
			t.Fatalf("%d rows among %d: the parts end at %d", n, size, at)
		}
	})
}
