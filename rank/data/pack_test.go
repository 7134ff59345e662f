package data

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sized makes a set of samples of the given lengths: sample i has the id i, and predicts i + 1000 at its end.
func sized(lengths []int) *Dataset {
	var all []Sample
	for i, n := range lengths {
		s := Sample{IDs: slices.Repeat([]int32{int32(i)}, n), Labels: slices.Repeat([]int32{int32(i)}, n), Origin: fmt.Sprint("sample ", i)}
		s.Labels[n-1] = int32(i + 1000)
		all = append(all, s)
	}
	return setOf(all)
}

// TestPackRows is derived by hand: of 4, 6, 3, 1 and 5 tokens in rows of 10, the longest first, 6 and 4 fill a row, and
// 5, 3 and 1 share one.
func TestPackRows(t *testing.T) {
	d := sized([]int{4, 6, 3, 1, 5})
	got := d.pack([]int{0, 1, 2, 3, 4}, 10)
	if !slices.Equal(got.samples, []int{0, 1, 2, 3, 4}) || !slices.Equal(got.ends, []int{2, 5}) {
		t.Errorf("got %+v", got)
	}
	if got := d.pack([]int{4, 3, 2, 1, 0}, 10); !slices.Equal(got.samples, []int{4, 3, 2, 1, 0}) || !slices.Equal(got.ends, []int{3, 5}) {
		t.Errorf("from the other end: %+v", got)
	}
}

// TestPack: every sample is packed once, no row is over its size, twice is the same, no two neighbouring windows' worth
// of rows could be one, and a row's samples are in the order of the sequence.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 300).Draw(t, "size")
		lengths := rapid.SliceOfN(rapid.IntRange(1, size), 1, 400).Draw(t, "lengths")
		d := sized(lengths)
		sequence := order(rapid.Int64().Draw(t, "seed"), 0, len(lengths), true)
		got := d.pack(sequence, size)
		if all := slices.Sorted(slices.Values(got.samples)); !slices.Equal(all, order(0, 0, len(lengths), false)) {
			t.Fatalf("samples %v", all)
		}
		place := make([]int, len(lengths))
		for p, i := range sequence {
			place[i] = p
		}
		tokens, filled := 0, 0
		for r := range got.rows() {
			n := 0
			for j, i := range got.row(r) {
				if n += lengths[i]; j > 0 && place[i] < place[got.row(r)[j-1]] {
					t.Fatalf("row %d is out of order: %v", r, got.row(r))
				}
			}
			if n > size || n == 0 {
				t.Fatalf("row %d has %d tokens", r, n)
			}
			if 2*n > size {
				filled++
			}
			tokens += n
			if at, ok := got.rowAt(got.before(r)); !ok || at != r {
				t.Fatalf("row %d is found at %d, %t", r, at, ok)
			}
		}
		// First fit leaves at most one row of each window not more than half full.
		if windows := tokens/(windowRows*size) + 1; got.rows()-filled > windows {
			t.Fatalf("%d of %d rows are at most half full, in %d windows", got.rows()-filled, got.rows(), windows)
		}
		if again := d.pack(sequence, size); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatal("packed twice, it differs")
		}
	})
}

// TestPackedBatch is derived by hand: rows of 2+3 tokens with one of padding, and of 4 with two; a third row is empty.
func TestPackedBatch(t *testing.T) {
	d := sized([]int{2, 3, 4})
	o := LoaderOptions{Epochs: 1, MicroBatch: 3, GradAcc: 1, DPSize: 1, Pack: 6, Pad: 9}
	steps := run(t, d, o)
	if len(steps) != 1 || len(steps[0].Micro) != 1 || steps[0].Samples != 3 {
		t.Fatalf("steps %+v", steps)
	}
	b := steps[0].Micro[0]
	for name, c := range map[string]struct{ got, want []int32 }{
		"ids":       {b.IDs, []int32{0, 0, 2, 2, 2, 2, 1, 1, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9}},
		"labels":    {b.Labels, []int32{0, 1000, 2, 2, 2, 1002, 1, 1, 1001, -100, -100, -100, -100, -100, -100, -100, -100, -100}},
		"starts":    {b.Starts, []int32{0, 0, 2, 2, 2, 2, 0, 0, 0, 3, 4, 5, 0, 1, 2, 3, 4, 5}},
		"positions": {b.Positions, []int32{0, 1, 0, 1, 2, 3, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	keys := b.Keys(func(sample int) uint32 { return uint32(sample + 10) })
	if want := []uint32{10, 10, 12, 12, 12, 12, 11, 11, 11, 9, 9, 9, 9, 9, 9, 9, 9, 9}; !slices.Equal(keys, want) {
		t.Errorf("keys %v, want %v", keys, want)
	}
	if b.Valid != 9 || b.Rows != 3 || b.Seq != 6 || !slices.Equal(b.Samples, []int{0, 2, 1}) {
		t.Errorf("%+v", b)
	}
	o.MicroBatch = 1
	if most, err := d.Largest(o); err != nil || most.Valid != 6 || most.Seq != 6 || most.Starts == nil {
		t.Errorf("largest %+v, %v", most, err)
	}
	if p, err := d.Packing(o); err != nil || p != (Packing{Rows: 2, Size: 6, Tokens: 9}) || p.Full() != 0.75 {
		t.Errorf("packing %+v, %v", p, err)
	}
	plain, err := d.pad(2, []int{1}, 0, 3)
	if keys := plain.Keys(func(sample int) uint32 { return uint32(sample + 10) }); err != nil || !slices.Equal(keys, []uint32{11, 9}) {
		t.Errorf("keys of rows: %v, %v", keys, err)
	}
}

// TestPackFaults: a sample that fits no row, and a run that stopped where this packing has no edge.
func TestPackFaults(t *testing.T) {
	d := sized([]int{2, 3, 4})
	o := LoaderOptions{Epochs: 1, MicroBatch: 1, GradAcc: 1, DPSize: 1, Pack: 3}
	for _, call := range []func() error{
		func() error { _, err := d.NewLoader(o); return err },
		func() error { _, err := d.Steps(o); return err },
		func() error { _, err := d.Largest(o); return err },
		func() error { _, err := d.Packing(o); return err },
	} {
		wantError(t, "too long", call(), "sample 2: 4 tokens", "packed row of 3", "packed_sequence_size")
	}
	o.Pack, o.Start, o.StartSamples = 9, 1, 2
	_, err := d.Steps(o)
	wantError(t, "inside a row", err, "2 samples of epoch 0", "checkpoint.resume")
}

// TestPackFull: samples as long as SQuAD's, 165 tokens in the middle and some far longer, leave little of the rows empty.
// None is shorter than 90 tokens, so a row of 1024 ends up to 89 early: that is what remains.
func TestPackFull(t *testing.T) {
	var lengths []int
	for i := range 20000 {
		n := 90 + i*7919%150
		if i%50 == 0 {
			n += i * 104729 % 600
		}
		lengths = append(lengths, n)
	}
	d := sized(lengths)
	for size, want := range map[int]float64{1024: 0.97, 2048: 0.98, 8192: 0.99} {
		p, err := d.Packing(LoaderOptions{Epochs: 1, MicroBatch: 1, GradAcc: 1, DPSize: 1, Pack: size, Shuffle: true})
		if err != nil || p.Full() < want {
			t.Errorf("rows of %d are %.4f full, %v", size, p.Full(), err)
		}
	}
}

// BenchmarkPack packs as many samples as SQuAD has: what a cache of it would have to beat.
func BenchmarkPack(b *testing.B) {
	var lengths []int
	for i := range 88000 {
		lengths = append(lengths, 90+i*7919%150)
	}
	d, sequence := sized(lengths), order(1, 0, len(lengths), true)
	for b.Loop() {
		d.pack(sequence, 2048)
	}
}
