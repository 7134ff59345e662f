package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// Branches are texts that go on from the same beginning: the choices of a question. The beginning is computed once, into
// a Decoding's keys and values; its branches then stand in one row, one after another as documents do in a packed row,
// and each sees the beginning and itself. A row so needs no padding between its branches, questions may have different
// numbers of them, and what a row holds is stored once, not once per branch. They are computed by the block's extend
// program with one more argument, and the cache comes out as it went in.

// Score returns the log-probability of each supervised position's label, in the order of positions. The batch's rows
// hold branches of what this decoding's rows hold: Starts tells where each begins, Positions go on from the first tokens
// of the row that it sees. To predict the first token of a branch, begin it with the last of the text before.
func (d *Decoding) Score(p Params, b Batch) ([]float32, error) {
	if err := d.branches(b); err != nil {
		return nil, err
	}
	rows, labels, valid := b.supervised()
	r := &Run{m: d.m, shape: Shape{Rows: b.Rows, Seq: b.Seq, Loss: len(rows), Packed: true}, valid: valid}
	r.ids, r.positions = r.upload(b.IDs, b.Rows, b.Seq), r.upload(b.Positions, b.Rows, b.Seq)
	r.starts = r.upload(b.Starts, b.Rows, b.Seq)
	r.rows, r.labels = r.upload(rows, len(rows)), r.upload(labels, len(rows))
	d.blocks(p, r)
	logp, err := r.score(d.cfg, p.Root())
	if end := r.End(); end != nil {
		return nil, end
	}
	return logp, err
}

// branches tells whether a batch is one of branches of what the rows hold.
func (d *Decoding) branches(b Batch) error {
	if err := b.valid(); err != nil {
		return err
	}
	if b.Rows != d.rows || b.Starts == nil {
		return fmt.Errorf("model: branches in %d rows with %d starts, the cache has %d rows", b.Rows, len(b.Starts), d.rows)
	}
	for i, at := range b.Positions {
		if err := d.inside(at); err != nil {
			return err
		}
		if own := i%b.Seq - int(b.Starts[i]); int(at) < own {
			return fmt.Errorf("model: branches: the token at place %d of row %d has position %d, and %d before it in its branch", i%b.Seq, i/b.Seq, at, own)
		}
	}
	return nil
}

// branches is the attention of queries at positions at [B,n] over capacity cached keys and, behind these, the n keys of
// the queries' own tokens. With own tokens before it in its branch, a query sees the branch up to own back and itself,
// and of the cache what is farther back: the rest of the cache is not of its text.
func (a attention) branches(at hlo.Value, capacity int) hlo.Value {
	e := a.e
	return a.outright(func(dims []int) (seen, back hlo.Value) {
		place, key := e.Iota(dtypes.Int32, 3, dims...), e.Iota(dtypes.Int32, 4, dims...)
		own := e.Sub(place, e.Broadcast(e.starts, dims, 0, 3))
		cached := e.Compare(key, "<", e.Const(dtypes.Int32, float64(capacity)))
		here := e.Add(place, e.Const(dtypes.Int32, float64(capacity)))
		back = e.Sub(e.Select(cached, e.Broadcast(at, dims, 0, 3), here), key)
		beside := e.And(e.Compare(back, ">=", e.Const(dtypes.Int32, 0)), e.Compare(back, "<=", own))
		return e.Select(cached, e.Compare(back, ">", own), beside), back
	})
}
