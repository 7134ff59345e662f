package fsdp

import (
	"slices"
	"strings"
	"testing"

	"gorun/tools/golden"
)

// TestTraces shows the order of everything in a pass, which is a contract between ranks: testdata/*.txt (-rewrite).
func TestTraces(t *testing.T) {
	for _, c := range []struct {
		name    string
		mesh    mesh
		remat   bool
		samples []int
		steps   int
	}{
		{"step", mesh{replicate: 1, shard: 2}, false, []int{1}, 1},
		{"much-is-trained", mesh{replicate: 1, shard: 2, narrow: true}, false, []int{1}, 1},
		{"steps", mesh{replicate: 1, shard: 2}, false, []int{1}, 2},
		{"accumulation", mesh{replicate: 1, shard: 2}, false, []int{1, 2}, 1},
		{"remat", mesh{replicate: 1, shard: 2}, true, []int{1}, 1},
		{"keep-after-forward", mesh{replicate: 1, shard: 2, keep: true}, false, []int{1}, 1},
		{"hsdp", mesh{replicate: 2, shard: 2}, false, []int{1}, 1},
		{"together", mesh{replicate: 1, shard: 2, together: 4}, false, []int{1}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ranks := open(t, c.mesh)
			together(t, ranks, func(_ int, r *rank) (err error) {
				for n := 0; n < c.steps && err == nil; n++ {
					_, err = r.step(t.Context(), c.samples, c.remat)
				}
				return err
			})
			for n, r := range ranks {
				if !slices.Equal(r.trace, ranks[0].trace) {
					t.Errorf("rank %d goes another way than rank 0:\n%s", n, strings.Join(r.trace, "\n"))
				}
			}
			golden.File(t, "testdata/"+c.name+".txt", strings.Join(ranks[0].trace, "\n")+"\n")
		})
	}
	t.Run("forward", func(t *testing.T) {
		ranks := open(t, mesh{replicate: 1, shard: 2})
		together(t, ranks, func(_ int, r *rank) error {
			p := r.Begin(t.Context())
			p.Root()
			for l := range blocks {
				p.Unshard(l)
				p.Prefetch(l + 1)
				r.say("forward block %d", l)
				p.Reshard(l)
			}
			return p.Close()
		})
		golden.File(t, "testdata/forward.txt", strings.Join(ranks[0].trace, "\n")+"\n")
	})
}
