package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// Context parallelism: a row's tokens are cut into 2n chunks, and part i of n has chunks i and 2n-1-i, so that under a
// causal mask all parts do the same work. Keys and values of all tokens are gathered, which is little where query heads
// share them, and each part attends from its own queries to the keys up to each: its program has nothing else in it.
// Positions, documents and dropout go by a token's place in its whole row.

// chunk is a run of consecutive tokens of every row: n of them, at place lo of the row and at place at of what is here.
type chunk struct{ at, lo, n int }

// chunks lists what is here of rows of seq tokens.
func (a Axis) chunks(seq int) []chunk {
	if !a.split() {
		return []chunk{{0, 0, seq}}
	}
	n := seq / (2 * a.Parts)
	return []chunk{{0, a.Index * n, n}, {n, (2*a.Parts - 1 - a.Index) * n, n}}
}

// unit is what the length of rows must be a multiple of.
func (s Split) unit() int {
	n := 1
	if s.Context.split() {
		n = 2 * s.Context.Parts
	}
	if s.Sequence {
		n *= s.Tensor.Parts
	}
	return n
}

// cut is what is here of a batch, and the length that its rows are padded to.
func (s Split) cut(b Batch) (here Batch, seq int) {
	seq = (b.Seq + s.unit() - 1) / s.unit() * s.unit()
	if seq == b.Seq && !s.Context.split() {
		return b, seq
	}
	here = Batch{Rows: b.Rows, Seq: s.Context.of(seq), Keys: b.Keys}
	packed := b.Starts != nil
	if packed {
		here.Keys = nil
	}
	for r := range b.Rows {
		for _, c := range s.Context.chunks(seq) {
			for place := c.lo; place < c.lo+c.n; place++ {
				i, id, position, start, label, key := r*b.Seq+place, int32(0), int32(0), int32(place), int32(ignored), uint32(0)
				if place < b.Seq {
					id, position, label = b.IDs[i], b.Positions[i], b.Labels[i]
					if packed {
						start = b.Starts[i]
					}
					if packed && b.Keys != nil {
						key = b.Keys[i]
					}
				}
				here.IDs, here.Positions, here.Labels = append(here.IDs, id), append(here.Positions, position), append(here.Labels, label)
				if packed {
					here.Starts = append(here.Starts, start)
				}
				if packed && b.Keys != nil {
					here.Keys = append(here.Keys, key)
				}
			}
		}
	}
	return here, seq
}

// Shape is what the programs of a batch are compiled for; it may have labels and starts alone.
func (c Config) Shape(b Batch) Shape {
	b.IDs, b.Positions = b.Labels, b.Labels // what they are makes no difference
	here, seq := c.Split.cut(b)
	rows, _, _ := here.supervised()
	s, _, _ := c.shape(b, here, seq, len(rows))
	return s
}

// shape is that of a batch of which here is what is here, and the documents that its programs are told of; none where
// Shape.Documents is 0.
func (c Config) shape(b, here Batch, seq, loss int) (s Shape, starts, lengths []int32) {
	s = b.shape(seq, loss)
	if !c.packsFlash(s) {
		return s, nil, nil
	}
	starts, lengths = here.documents(s.Reach)
	s.Documents = s.places(len(starts))
	starts, lengths = s.listed(starts, lengths)
	return s, starts, lengths
}

// place is each token's place in its row, [S] of the dtype.
func (e *emit) place(dtype dtypes.DType) hlo.Value {
	var out []hlo.Value
	for _, c := range e.chunks {
		out = append(out, e.Add(e.Iota(dtype, 0, c.n), e.Const(dtype, float64(c.lo))))
	}
	return e.Concat(0, out...)
}

// gathered joins the parts' keys and values [B*K,S/n,E] into those of whole rows [B*K,S,E].
func (e *emit) gathered(k, v hlo.Value) (hlo.Value, hlo.Value) {
	c := e.cfg.Split.Context
	if !c.split() {
		return k, v
	}
	bk := k.Dim(0)
	all := e.AllGather(c.comm(), "keys and values", e.Concat(0, k, v))
	rows := make([]hlo.Value, 2*c.Parts) // chunks in the order of places, keys above values
	for p := range c.Parts {
		both := e.Slice(all, 0, p*2*bk, (p+1)*2*bk)
		n := both.Dim(1) / 2
		rows[p], rows[2*c.Parts-1-p] = e.Slice(both, 1, 0, n), e.Slice(both, 1, n, 2*n)
	}
	both := e.Concat(1, rows...)
	return e.Slice(both, 0, 0, bk), e.Slice(both, 0, bk, 2*bk)
}

// scattered sums the gradients of whole rows' keys and values [B*K,S,E] over the parts and leaves those of the tokens
// here. It is gathered backwards.
func (e *emit) scattered(dk, dv hlo.Value) (hlo.Value, hlo.Value) {
	c := e.cfg.Split.Context
	if !c.split() {
		return dk, dv
	}
	bk, n := dk.Dim(0), dk.Dim(1)/(2*c.Parts)
	both := e.Concat(0, dk, dv)
	parts := make([]hlo.Value, c.Parts)
	for p := range parts {
		last := 2*c.Parts - 1 - p
		parts[p] = e.Concat(1, e.Slice(both, 1, p*n, (p+1)*n), e.Slice(both, 1, last*n, (last+1)*n))
	}
	own := e.ReduceScatter(c.comm(), "gradients of keys and values", e.Concat(0, parts...))
	return e.Slice(own, 0, 0, bk), e.Slice(own, 0, bk, 2*bk)
}
