package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// dispatch lays tokens out by expert. Each token has a slot for every expert that it goes through; those of one expert
// stand together, in the order of tokens, filled up to whole blocks of rows, so that a block is of one expert and a
// product of a fixed size. How many blocks there can be is fixed by the sizes; how many there are, the router decides, and
// only these are computed. No token is ever left out.
type dispatch struct {
	rows, slots int         // of a block; of all blocks that there can be
	slot        []hlo.Value // per pick: each token's [T,1] int32
	token       hlo.Value   // each slot's [slots,1] int32; 0 in those that only fill up
	weight      hlo.Value   // each slot's [slots,1] float32; 0 in those that only fill up
	busy        hlo.Value   // how many experts have a token
	expert      hlo.Value   // their numbers [E] int32, in order; what follows them means nothing
	first, end  hlo.Value   // each expert's first block and the one after its last [E] int32
}

// Least and most rows of a block: below, a product has too little to do, above, too many of them only fill up.
const (
	leastRows = 8
	mostRows  = 128
)

// blockRows is how many rows a block has: about what an expert has when all have the same.
func (m mixture) blockRows(tokens int) int {
	rows := leastRows
	for rows < mostRows && 2*rows*m.experts <= tokens*m.top {
		rows *= 2
	}
	return rows
}

// blocks is how many blocks of so many rows there can be at most: every expert with a token may have one that is not full.
func (m mixture) blocks(tokens, rows int) int {
	n := tokens * m.top
	return (n + min(m.experts, n)*(rows-1)) / rows
}

// dispatch deals the tokens of a routing out to blocks.
func (m mixture) dispatch(e *emit, r routing) dispatch {
	tokens := r.h.Dim(0)
	d := dispatch{rows: m.blockRows(tokens)}
	d.slots = m.blocks(tokens, d.rows) * d.rows
	whole := func(x hlo.Value) hlo.Value { return e.To(x, dtypes.Int32) }

	nth := whole(e.Cumulate(r.chosen(e))) // of an expert's tokens each is, from 1
	count := e.Slice(nth, 0, tokens-1, tokens)
	blocks := e.Div(e.Add(count, e.int(d.rows-1)), e.int(d.rows))
	// Along the experts, how many blocks and how many experts with tokens there are up to each.
	upTo := func(x hlo.Value) hlo.Value {
		return e.Reshape(whole(e.Cumulate(e.F32(e.Reshape(x, m.experts, 1)))), m.experts)
	}
	d.end = upTo(blocks)
	d.first = e.Sub(d.end, e.Reshape(blocks, m.experts))
	has := upTo(e.Min(count, e.int(1)))
	d.busy = e.Reshape(e.Slice(has, 0, m.experts-1, m.experts))
	// The j-th busy expert is the first with j+1 busy ones up to it: so many before it have fewer.
	square := []int{m.experts, m.experts}
	fewer := whole(e.Compare(e.Broadcast(has, square, 1), "<=", e.Iota(dtypes.Int32, 0, square...)))
	d.expert = e.Min(e.Sum(fewer, 1), e.int(m.experts-1))

	at := e.Add(e.Like(e.Mul(d.first, e.int(d.rows)), nth, 1), e.Sub(nth, e.int(1)))
	ids := e.Iota(dtypes.Int32, 0, tokens, 1)
	d.token, d.weight = e.Full(dtypes.Int32, 0, d.slots, 1), e.Full(dtypes.Float32, 0, d.slots, 1)
	for _, p := range r.picks {
		slot := e.Reshape(e.Sum(e.Select(p.hot, at, e.int(0)), 1), tokens, 1)
		d.slot = append(d.slot, slot)
		d.token = e.AddUniqueRows(d.token, slot, ids)
		d.weight = e.AddUniqueRows(d.weight, slot, e.Reshape(p.weight, tokens, 1))
	}
	return d
}

// back is the sum over the picks of each token's slots of x [slots,n]: [T,n] float32.
func (d dispatch) back(e *emit, x hlo.Value) hlo.Value {
	sum := e.F32(e.Rows(x, d.slot[0]))
	for _, slot := range d.slot[1:] {
		sum = e.Add(sum, e.F32(e.Rows(x, slot)))
	}
	return sum
}

// each runs body for every block, at the slot it begins with, expert by expert: an expert's weights are taken once. state
// goes from block to block; sums are added up for each expert, have the given dims, and come out as [E,dims...], float32.
func (d dispatch) each(e *emit, m mixture, state []hlo.Value, dims [][]int, body func(e *emit, x expert, at hlo.Value, state, sums []hlo.Value) (nextState, nextSums []hlo.Value)) (outState, outSums []hlo.Value) {
	n := len(state)
	all := append([]hlo.Value(nil), state...)
	for _, d := range dims {
		all = append(all, e.Full(dtypes.Float32, 0, append([]int{m.experts}, d...)...))
	}
	all = e.Span(e.int(0), d.busy, all, func(g *hlo.Graph, i hlo.Value, all []hlo.Value) []hlo.Value {
		outer := e.in(g)
		number := outer.element(d.expert, i)
		x := m.expert(outer, number)
		own := append([]hlo.Value(nil), all[:n]...)
		for _, d := range dims {
			own = append(own, outer.Full(dtypes.Float32, 0, d...))
		}
		own = outer.Span(outer.element(d.first, number), outer.element(d.end, number), own, func(g *hlo.Graph, block hlo.Value, st []hlo.Value) []hlo.Value {
			inner := e.in(g)
			s, t := body(inner, x, inner.Mul(block, inner.int(d.rows)), st[:n], st[n:])
			return append(s, t...)
		})
		next := append([]hlo.Value(nil), own[:n]...)
		for j, sum := range own[n:] {
			next = append(next, outer.DynamicUpdate(all[n+j], outer.Reshape(sum, append([]int{1}, sum.Dims()...)...), 0, number))
		}
		return next
	})
	return all[:n], all[n:]
}
