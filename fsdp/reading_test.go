package fsdp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gorun/csrc/device/devicetest"
)

// TestReading: what is read while steps go on is the state as it was, on one rank and on several, and a state may be read
// again and closed meanwhile.
func TestReading(t *testing.T) {
	for _, shard := range []int{1, 3} {
		ranks := open(t, mesh{replicate: 1, shard: shard})
		step := func(_ int, r *rank) error {
			_, err := r.step(t.Context(), []int{1, 2}, false)
			return err
		}
		together(t, ranks, step)
		want, got, now := make([][]Tensor, shard), make([][]Tensor, shard), make([][]Tensor, shard)
		readings := make([]*Reading, shard)
		together(t, ranks, func(n int, r *rank) (err error) {
			want[n], err = r.all()
			readings[n] = r.Read()
			return err
		})
		together(t, ranks, step)
		together(t, ranks, step)
		together(t, ranks, func(n int, r *rank) (err error) {
			if got[n], err = r.whole(readings[n]); err != nil {
				return err
			}
			now[n], err = r.all()
			if r.Read(); readings[n].Steps() != 1 || r.Steps() != 3 || readings[n].Waited() < 0 { // closing the state waits for it
				t.Errorf("%d steps, and %d since", readings[n].Steps(), r.Steps())
			}
			return err
		})
		sameTensors(t, fmt.Sprint(shard, " ranks"), got[0], want[0])
		if len(want[0]) == 0 || slices.Equal(now[0][0].Data, want[0][0].Data) {
			t.Error("two steps later nothing has changed")
		}
	}
}

// TestReadingFails: what a rank cannot read or nobody keeps is an error with its name, and nobody waits for it.
func TestReadingFails(t *testing.T) {
	r := open(t, mesh{replicate: 1, shard: 1})[0]
	full := errors.New("full")
	err := r.Read().Each(nil, func(Tensor) error { return full })
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "keep ") {
		t.Errorf("nobody keeps it: %v", err)
	}
	g := r.groups[1]
	g.m1[0].Free()
	err = r.Read().Each(nil, func(Tensor) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "for a checkpoint: read "+g.params[g.trained[0]].Name) {
		t.Errorf("it cannot be read: %v", err)
	}
}

// TestRestore: what 3 ranks read, 2 ranks restore.
func TestRestore(t *testing.T) {
	dev := devicetest.Open(t)
	three, two := openOn(t, dev, mesh{replicate: 1, shard: 3}), openOn(t, dev, mesh{replicate: 1, shard: 2})
	var saved []Tensor
	together(t, three, func(n int, r *rank) error {
		if _, err := r.step(t.Context(), []int{n}, false); err != nil {
			return err
		}
		tensors, err := r.all()
		if n == 0 {
			saved = tensors
		}
		return err
	})
	together(t, two, func(n int, r *rank) error {
		err := r.Restore(1, func(name string) (Saved, error) {
			x := saved[slices.IndexFunc(saved, func(x Tensor) bool { return x.Name == name })]
			return Saved{rowsOf(x.Param, x.Data), rowsOf(x.Param, x.M1), rowsOf(x.Param, x.M2)}, nil
		})
		if err != nil {
			return err
		}
		again, err := r.all()
		if err != nil || r.Steps() != 1 {
			return fmt.Errorf("rank %d: %d steps, %w", n, r.Steps(), err)
		}
		for i := range again {
			if !slices.Equal(again[i].Data, saved[i].Data) || !slices.Equal(again[i].M2, saved[i].M2) {
				t.Errorf("rank %d: %s differs", n, saved[i].Name)
			}
		}
		return nil
	})
}

// rowsOf fills from a whole tensor.
func rowsOf(p Param, data []byte) Fill {
	row := p.Shape.Bytes() / p.Shape.Dims[0]
	return func(lo, hi int, dst []byte) error { copy(dst, data[lo*row:hi*row]); return nil }
}
