package fsdp

import (
	"fmt"
	"slices"
	"testing"
)

// TestDirections: of frozen parameters that are there once for each direction, a pass is given those that it reads, whole,
// and holds no others, whatever the policy and wherever the shards lie; the step's outcome is the same.
func TestDirections(t *testing.T) {
	for _, m := range []mesh{
		{replicate: 1, shard: 2, twice: true}, {replicate: 1, shard: 2, twice: true, keep: true}, {replicate: 1, shard: 3, twice: true, narrow: true},
		{replicate: 1, shard: 2, twice: true, offload: true}, {replicate: 1, shard: 1, twice: true, offload: true},
	} {
		t.Run(fmt.Sprintf("shard %d keep %t narrow %t offload %t", m.shard, m.keep, m.narrow, m.offload), func(t *testing.T) {
			ranks := open(t, m)
			together(t, ranks, func(_ int, r *rank) error {
				p := r.Begin(t.Context())
				for l := range blocks {
					p.Unshard(l)
					p.Prefetch(l + 1)
					r.reads(t, p, l, true, false)
					p.ReshardAfterForward(l)
				}
				for l := range blocks {
					if p.whole[l] != nil && p.whole[l][0] != nil {
						t.Errorf("block %d: what the forward pass alone reads is whole behind it", l)
					}
				}
				p.PrefetchBackward(blocks - 1)
				for l := blocks - 1; l >= 0; l-- {
					p.UnshardBackward(l)
					p.PrefetchBackward(l - 1)
					r.reads(t, p, l, false, true)
					p.Reshard(l)
				}
				return p.Close()
			})
		})
	}
}

// reads holds block l's parameters, as a pass has them, to what they are whole.
func (r *rank) reads(t *testing.T, p *Pass, l int, forward, backward bool) {
	t.Helper()
	for i, there := range []bool{forward, true, true, backward} {
		b := p.whole[l][i]
		if (b != nil) != there {
			t.Errorf("block %d: parameter %d is whole %t, want %t", l, i, b != nil, there)
		}
		if b == nil {
			continue
		}
		v, err := read(b)
		if err != nil {
			t.Error(err)
			continue
		}
		want := make([]float32, len(v))
		for k := range want {
			want[k] = float32(k%13 - 6) // see count
		}
		if !slices.Equal(v, want) {
			t.Errorf("block %d: parameter %d is %v", l, i, v)
		}
	}
}

// TestDirectionsUnawaited: what was prefetched for one direction is not in the way of the other.
func TestDirectionsUnawaited(t *testing.T) {
	ranks := open(t, mesh{replicate: 1, shard: 2, twice: true})
	together(t, ranks, func(_ int, r *rank) error {
		p := r.Begin(t.Context())
		p.Prefetch(1)
		p.UnshardBackward(1)
		r.reads(t, p, 1, true, true)
		p.Prefetch(2)
		return p.Close()
	})
}
