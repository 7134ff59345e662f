package model

import "fmt"

// Batch is one micro-batch on the host: Rows x Seq tokens, right-padded. A row is one document, or, with Starts, several
// that are one after the other: no attention crosses from one to another, and everything else is by token anyway.
type Batch struct {
	Rows, Seq int
	IDs       []int32  // [Rows*Seq]
	Positions []int32  // [Rows*Seq], each below Seq; they begin at 0 in each document
	Starts    []int32  // [Rows*Seq]: where in its row the token's document begins; nil = each row is one document
	Labels    []int32  // [Rows*Seq]: what position t should predict; -100 = nothing
	Keys      []uint32 // [Rows], or with Starts [Rows*Seq]: dropout keys of the samples; nil = no dropout (evaluation)
}

// valid tells whether the batch's slices fit each other; programs would read other memory than was meant.
func (b Batch) valid() error {
	n := b.Rows * b.Seq
	if len(b.IDs) != n || len(b.Positions) != n || len(b.Labels) != n {
		return fmt.Errorf("model: batch of %dx%d has %d ids, %d positions, %d labels", b.Rows, b.Seq, len(b.IDs), len(b.Positions), len(b.Labels))
	}
	keys := b.Rows
	if b.Starts != nil {
		keys = n
		if len(b.Starts) != n {
			return fmt.Errorf("model: batch of %dx%d has %d starts", b.Rows, b.Seq, len(b.Starts))
		}
	}
	if b.Keys != nil && len(b.Keys) != keys {
		return fmt.Errorf("model: batch of %dx%d has %d dropout keys, not %d", b.Rows, b.Seq, len(b.Keys), keys)
	}
	for i, start := range b.Starts {
		if start < 0 || int(start) > i%b.Seq {
			return fmt.Errorf("model: batch: the token at place %d of row %d is of a document that starts at %d", i%b.Seq, i/b.Seq, start)
		}
		if int(start) < i%b.Seq && start != b.Starts[i-1] {
			return fmt.Errorf("model: batch: the token at place %d of row %d is of a document that starts at %d, the one before it of another", i%b.Seq, i/b.Seq, start)
		}
	}
	return nil
}

// keyDims are the dims of Keys.
func (b Batch) keyDims() []int {
	if b.Starts != nil {
		return []int{b.Rows, b.Seq}
	}
	return []int{b.Rows}
}

// span is the length that rotary frequencies which depend on it are for: that of the rows, or, where they are packed, of
// the longest document.
func (b Batch) span() int {
	if b.Starts == nil {
		return b.Seq
	}
	n := 0
	for i, start := range b.Starts {
		n = max(n, i%b.Seq-int(start)+1)
	}
	return n
}

// supervised lists the positions with a label and their labels, padded to LossRows.
func (b Batch) supervised() (rows, labels []int32, valid int) {
	for i, l := range b.Labels {
		if l != ignored {
			rows, labels = append(rows, int32(i)), append(labels, l)
		}
	}
	valid = len(rows)
	for n := LossRows(valid); len(rows) < n; {
		rows, labels = append(rows, 0), append(labels, ignored)
	}
	return rows, labels, valid
}

// shape is that of a batch whose rows are filled to seq tokens, with so many rows of the loss. The reach of packed rows is
// a power of two, so that few occur.
func (b Batch) shape(seq, loss int) Shape {
	s := Shape{Rows: b.Rows, Seq: seq, Loss: loss}
	if b.Starts != nil {
		s.Packed, s.Reach = true, queryBlock
		for longest := b.span(); s.Reach < longest; {
			s.Reach *= 2
		}
		s.Reach = min(s.Reach, seq)
	}
	return s
}
