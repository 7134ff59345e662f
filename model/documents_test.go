package model

import (
	"slices"
	"testing"
)

// TestDocuments lists documents of packed rows: every token is in one, in order; tokens of padding lie together.
func TestDocuments(t *testing.T) {
	const no = ignored
	for name, c := range map[string]struct {
		b               Batch
		reach           int
		starts, lengths []int32
	}{
		"one row, padding at its end": {
			Batch{Rows: 1, Seq: 8, Starts: []int32{0, 0, 0, 3, 3, 5, 6, 7}, Labels: []int32{1, 2, no, 3, no, no, no, no}}, 4,
			[]int32{0, 3, 5}, []int32{3, 2, 3},
		},
		"padding longer than the reach, and beyond its row": {
			Batch{Rows: 2, Seq: 4, Starts: []int32{0, 1, 2, 3, 0, 1, 2, 2}, Labels: []int32{1, no, no, no, no, no, 4, no}}, 2,
			[]int32{0, 1, 3, 5, 6}, []int32{1, 2, 2, 1, 2},
		},
		"documents of one token that is trained on": {
			Batch{Rows: 1, Seq: 3, Starts: []int32{0, 1, 2}, Labels: []int32{5, 6, 7}}, 3,
			[]int32{0, 1, 2}, []int32{1, 1, 1},
		},
		"a row that is one document": {
			Batch{Rows: 2, Seq: 2, Starts: []int32{0, 0, 0, 0}, Labels: []int32{no, no, no, no}}, 2,
			[]int32{0, 2}, []int32{2, 2},
		},
	} {
		starts, lengths := c.b.documents(c.reach)
		if !slices.Equal(starts, c.starts) || !slices.Equal(lengths, c.lengths) {
			t.Errorf("%s: starts %v, lengths %v, want %v, %v", name, starts, lengths, c.starts, c.lengths)
		}
	}
}

// TestListed: programs get as many places as they were compiled for.
func TestListed(t *testing.T) {
	s := Shape{Rows: 2, Seq: 128, Packed: true, Reach: 64} // 4 rows of 64 for cuDNN
	for documents, want := range map[int]int{1: 8, 8: 8, 9: 16, 40: 64} {
		if got := s.places(documents); got != want {
			t.Errorf("%d documents: %d places, want %d", documents, got, want)
		}
	}
	s.Documents = s.places(3)
	starts, lengths := s.listed([]int32{0, 100, 200}, []int32{100, 100, 56})
	if !slices.Equal(lengths, []int32{100, 100, 56, 0, 0, 0, 0, 0}) || !slices.Equal(starts, []int32{0, 100, 200, 256, 256, 256, 256, 256, 256, 256, 256, 256}) {
		t.Errorf("starts %v, lengths %v", starts, lengths)
	}
}
