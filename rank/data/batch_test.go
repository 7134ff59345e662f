package data

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestBucket(t *testing.T) {
	for n, want := range map[int]int{0: 32, 1: 32, 32: 32, 33: 64, 256: 256, 257: 320, 512: 512, 513: 640, 1024: 1024, 1025: 1280, 4096: 4096, 4097: 4608} {
		if got := bucket(n); got != want {
			t.Errorf("bucket(%d) = %d, want %d", n, got, want)
		}
	}
}

// TestPad is derived by hand: rows of 3 and 1 tokens and an empty one, padded to the longest sample of the set, 5.
func TestPad(t *testing.T) {
	d := setOf([]Sample{
		{IDs: []int32{1, 2, 3}, Labels: []int32{-100, 3, 4}},
		{IDs: []int32{5}, Labels: []int32{6}},
		{IDs: make([]int32, 5), Labels: make([]int32, 5)},
	})
	longest := d.Stats().Longest
	got, err := d.pad(3, []int{0, 1}, 9, longest)
	if err != nil {
		t.Fatal(err)
	}
	want := Batch{
		Rows: 3, Seq: 5, Valid: 3, Samples: []int{0, 1},
		IDs:       []int32{1, 2, 3, 9, 9, 5, 9, 9, 9, 9, 9, 9, 9, 9, 9},
		Positions: []int32{0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4},
		Labels:    []int32{-100, 3, 4, -100, -100, 6, -100, -100, -100, -100, -100, -100, -100, -100, -100},
	}
	if got.Rows != want.Rows || got.Seq != want.Seq || got.Valid != want.Valid || !slices.Equal(got.Samples, want.Samples) ||
		!slices.Equal(got.IDs, want.IDs) || !slices.Equal(got.Positions, want.Positions) || !slices.Equal(got.Labels, want.Labels) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if b, err := d.pad(2, nil, 9, longest); err != nil || b.Valid != 0 || b.Rows != 2 || len(b.IDs) != 2*b.Seq {
		t.Errorf("no samples: %+v", b)
	}
	o := LoaderOptions{Epochs: 1, MicroBatch: 2, GradAcc: 1, DPSize: 1}
	if b, err := d.Largest(o); err != nil || !slices.Equal(b.Samples, []int{2, 0}) || b.Seq != 5 || b.Rows != 2 {
		t.Errorf("largest: %+v, %v", b, err)
	}
}

// TestBatches: a set's batches hold every sample once, in order, whole.
func TestBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, rows := rapid.IntRange(1, 90).Draw(t, "samples"), rapid.IntRange(1, 5).Draw(t, "rows")
		d := numberedSet(n)
		i := 0
		all, samples := d.Batches(rows, -7), samplesOf(t, d)
		for k := range all.Len() {
			b, err := all.At(k)
			if err != nil || b.Rows != rows || len(b.IDs) != rows*b.Seq || b.Seq > d.Stats().Longest {
				t.Fatalf("batch %+v", b)
			}
			valid := 0
			for r, sample := range b.Samples {
				s := samples[i]
				row := b.IDs[r*b.Seq : (r+1)*b.Seq]
				if sample != i || !slices.Equal(row[:len(s.IDs)], s.IDs) || slices.ContainsFunc(row[len(s.IDs):], func(id int32) bool { return id != -7 }) {
					t.Fatalf("row %d is %v, want sample %d: %v", r, row, i, s.IDs)
				}
				valid += s.Valid()
				i++
			}
			if b.Valid != valid {
				t.Fatalf("%d valid, want %d", b.Valid, valid)
			}
		}
		if i != n {
			t.Fatalf("%d samples of %d", i, n)
		}
	})
}
