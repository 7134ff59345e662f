package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// Blockwise causal attention in plain StableHLO. Queries are taken in blocks of queryBlock rows; a block sees the keys
// up to its own end (from its window's start, with a sliding window), so no work is spent above the diagonal, and only
// one block of scores exists at a time: memory grows with S, not with S squared. Up to maxSpans blocks are written out;
// longer sequences are cut into maxSpans spans, each a loop over its blocks, so that programs stay small.
//
// Where rows are split (context.go), queries are those that are here, keys all up to each.
//
// Query heads that share a key head are stacked as rows of one product: q is [B*K, G, S, E], k and v [B*K, S, E].
//
// In packed rows a query sees no key before its own document's start. As documents are contiguous, that and the
// diagonal are the whole mask: documents need no numbers, and what is masked adds exact zeros, so that no document's
// values depend on another's. No block looks farther back than the longest document is long.
const (
	queryBlock = 64
	maxSpans   = 16
)

// span is a run of query blocks, at places [lo, lo+blocks*size) of a row, that sees keys [keys, lo+blocks*size). at is
// where it begins among the queries that are here.
type span struct{ at, lo, size, blocks, keys int }

// spans cuts the queries of chunks that see so many keys back, themselves included (0 = all).
func spans(chunks []chunk, reach int) []span {
	var out []span
	for _, c := range chunks {
		most := queryBlock * maxSpans / len(chunks)
		perSpan := (c.n + most - 1) / most
		for done := 0; done < c.n; {
			s := span{at: c.at + done, lo: c.lo + done, size: queryBlock, blocks: perSpan}
			if rest := c.n - done; rest < queryBlock {
				s.size, s.blocks = rest, 1
			} else if whole := rest / queryBlock; whole < perSpan {
				s.blocks = whole
			}
			if reach > 0 {
				s.keys = max(0, s.lo-reach+1)
			}
			out = append(out, s)
			done += s.queries()
		}
	}
	return out
}

func (s span) queries() int { return s.size * s.blocks }

// end is the place after its last query.
func (s span) end() int { return s.lo + s.queries() }

// of takes the span's part of x, whose axis is queries.
func (s span) of(e *emit, x hlo.Value, axis int) hlo.Value {
	return e.Slice(x, axis, s.at, s.at+s.queries())
}

// attention holds the operands of one block's attention.
type attention struct {
	e      *emit
	q      hlo.Value // [B*K,G,S,E]
	k, v   hlo.Value // [B*K,S,E], of whole rows where those are split
	starts hlo.Value // [B*K,S] int32: the first key that each query may see; invalid unless rows are packed
	group  int       // G
	scale  float64
	limit  float64 // cap of the scores; 0 = none
	window int
	reach  int // keys that a query may see for any reason; 0 = all before it
}

// newAttention stacks heads: q [B,H,S,E], k and v [B,K,S,E].
func newAttention(e *emit, q, k, v hlo.Value, window int) attention {
	d := e.part
	bk, g := e.rows*d.KVHeads, d.Heads/d.KVHeads
	a := attention{
		e:      e,
		q:      e.Reshape(q, bk, g, e.seq, d.HeadDim),
		group:  g,
		scale:  d.ScoreScale(),
		limit:  d.AttentionCap,
		window: window,
		reach:  window,
	}
	if e.reach > 0 && (window == 0 || e.reach < window) {
		a.reach = e.reach
	}
	a.k, a.v = e.gathered(e.Reshape(k, bk, k.Dim(2), d.HeadDim), e.Reshape(v, bk, k.Dim(2), d.HeadDim))
	if e.starts.Valid() {
		a.starts = e.Reshape(e.Broadcast(e.starts, []int{e.rows, d.KVHeads, e.seq}, 0, 2), bk, e.seq)
	}
	return a
}

// queries are a block of n consecutive queries of every row.
type queries struct {
	q      hlo.Value // [B*K,G,n,E]
	lo     hlo.Value // place of the first in its row, a run-time value
	starts hlo.Value // [B*K,n]; invalid unless rows are packed
}

// block is the block that is all of a span.
func (a attention) block(s span) queries {
	b := queries{q: s.of(a.e, a.q, 2), lo: a.e.Const(dtypes.Int32, float64(s.lo))}
	if a.starts.Valid() {
		b.starts = s.of(a.e, a.starts, 1)
	}
	return b
}

// part is the block of s.size queries from place at of a whole span's.
func (b queries) part(g *hlo.Graph, at hlo.Value, s span) queries {
	p := queries{q: g.DynamicSlice(b.q, 2, at, s.size), lo: g.Add(at, g.Const(dtypes.Int32, float64(s.lo)))}
	if b.starts.Valid() {
		p.starts = g.DynamicSlice(b.starts, 1, at, s.size)
	}
	return p
}

// masked is x, whose axes are [B*K,...] with queries of b along one and keys of the span along another, with what a query
// must not see at a huge negative value.
func (a attention) masked(g *hlo.Graph, x hlo.Value, b queries, s span, query, key int) hlo.Value {
	dims := x.Dims()
	row := g.Add(g.Iota(dtypes.Int32, query, dims...), b.lo)
	col := g.Add(g.Iota(dtypes.Int32, key, dims...), g.Const(dtypes.Int32, float64(s.keys)))
	seen := g.Compare(col, "<=", row)
	if a.window > 0 {
		seen = g.And(seen, g.Compare(g.Sub(row, col), "<", g.Const(dtypes.Int32, float64(a.window))))
	}
	if b.starts.Valid() {
		seen = g.And(seen, g.Compare(col, ">=", g.Broadcast(b.starts, dims, 0, query)))
	}
	return g.Select(seen, x, g.Const(dtypes.Float32, -1e30))
}

// scores are scale * q k^T [B*K,G,n,m] float32 for a block of n queries and the keys of its span, masked.
func (a attention) scores(g *hlo.Graph, b queries, k hlo.Value, s span) hlo.Value {
	bk, n, m, e := k.Dim(0), s.size, k.Dim(1), k.Dim(2)
	x, _ := capped(g, g.Scale(g.Dot(g.Reshape(b.q, bk, a.group*n, e), 2, k, 2, 1), a.scale), a.limit)
	return a.masked(g, g.Reshape(x, bk, a.group, n, m), b, s, 2, 3)
}

// forward returns the output [T, H*E] in the compute dtype and the log-sum-exp of each query's scores [B*K,G,S].
func (a attention) forward() (oTN, lse hlo.Value) {
	e := a.e
	var os, ls []hlo.Value
	for _, s := range spans(e.chunks, a.reach) {
		k, v := e.Slice(a.k, 1, s.keys, s.end()), e.Slice(a.v, 1, s.keys, s.end())
		if s.blocks == 1 {
			o, l := a.forwardBlock(e.Graph, a.block(s), k, v, s)
			os, ls = append(os, o), append(ls, l)
			continue
		}
		all := a.block(s)
		state := e.Loop(s.blocks, []hlo.Value{
			e.Full(e.cfg.Compute, 0, all.q.Dims()...),
			e.Full(dtypes.Float32, 0, all.q.Dims()[:3]...),
		}, func(g *hlo.Graph, i hlo.Value, st []hlo.Value) []hlo.Value {
			at := g.Mul(i, g.Const(dtypes.Int32, float64(s.size)))
			o, l := a.forwardBlock(g, all.part(g, at, s), k, v, s)
			return []hlo.Value{g.DynamicUpdate(st[0], o, 2, at), g.DynamicUpdate(st[1], l, 2, at)}
		})
		os, ls = append(os, state[0]), append(ls, state[1])
	}
	return a.unstack(e.Concat(2, os...)), e.Concat(2, ls...)
}

// forwardBlock is softmax(scores) v [B*K,G,n,E] and the log-sum-exp [B*K,G,n] of one block of queries.
func (a attention) forwardBlock(g *hlo.Graph, b queries, k, v hlo.Value, s span) (o, lse hlo.Value) {
	x := a.scores(g, b, k, s)
	top := g.MaxOver(x, 3)
	p := g.Exp(g.Sub(x, g.Like(top, x, 0, 1, 2)))
	sum := g.Sum(p, 3)
	dims := b.q.Dims()
	o = g.Dot(g.To(g.Reshape(p, dims[0], a.group*s.size, x.Dim(3)), v.DType()), 2, v, 1, 1)
	o = g.Reshape(o, dims...)
	o = g.Div(o, g.Like(sum, o, 0, 1, 2))
	return g.To(o, v.DType()), g.Add(top, g.Log(sum))
}

// unstack turns [B*K,G,S,E] into [T, H*E].
func (a attention) unstack(x hlo.Value) hlo.Value {
	e, d := a.e, a.e.part
	x = e.Reshape(x, e.rows, d.Heads, e.seq, d.HeadDim)
	return e.Reshape(e.Transpose(x, 0, 2, 1, 3), e.rows*e.seq, d.Heads*d.HeadDim)
}

// stack is the inverse of unstack.
func (a attention) stack(x hlo.Value) hlo.Value {
	e, d := a.e, a.e.part
	x = e.Transpose(e.Reshape(x, e.rows, e.seq, d.Heads, d.HeadDim), 0, 2, 1, 3)
	return e.Reshape(x, e.rows*d.KVHeads, a.group, e.seq, d.HeadDim)
}

// backward takes the output, its gradient (both [T, H*E], compute dtype) and the log-sum-exp, and returns the gradients
// of q [B,H,S,E], k and v [B,K,S,E] in float32. With p = exp(scores - lse): dv = p^T do, ds = p * (do v^T - sum(do*o)),
// dq = scale ds k, dk = scale ds^T q.
func (a attention) backward(oTN, doTN, lse hlo.Value) (dq, dk, dv hlo.Value) {
	e, d := a.e, a.e.part
	do := a.stack(doTN)
	delta := e.Sum(e.Mul(e.F32(do), e.F32(a.stack(oTN))), 3) // [B*K,G,S]
	kT := e.turned(a.k)
	zero := e.Full(dtypes.Float32, 0, a.k.Dims()...)
	dk, dv = zero, zero
	var dqs []hlo.Value
	for _, s := range spans(e.chunks, a.reach) {
		keys := keys{e.Slice(a.k, 1, s.keys, s.end()), e.Slice(kT, 2, s.keys, s.end()), e.Slice(a.v, 1, s.keys, s.end())}
		part := func(x hlo.Value) hlo.Value { return s.of(e, x, 2) }
		all, dos, lses, deltas := a.block(s), part(do), part(lse), part(delta)
		var dqSpan, dkSpan, dvSpan hlo.Value
		if s.blocks == 1 {
			dqSpan, dkSpan, dvSpan = a.backwardBlock(e.Graph, all, keys, dos, lses, deltas, s)
		} else {
			empty := e.Full(dtypes.Float32, 0, keys.k.Dims()...)
			st := e.Loop(s.blocks, []hlo.Value{e.Full(dtypes.Float32, 0, all.q.Dims()...), empty, empty}, func(g *hlo.Graph, i hlo.Value, st []hlo.Value) []hlo.Value {
				at := g.Mul(i, g.Const(dtypes.Int32, float64(s.size)))
				cut := func(x hlo.Value) hlo.Value { return g.DynamicSlice(x, 2, at, s.size) }
				bq, bk, bv := a.backwardBlock(g, all.part(g, at, s), keys, cut(dos), cut(lses), cut(deltas), s)
				return []hlo.Value{g.DynamicUpdate(st[0], bq, 2, at), g.Add(st[1], bk), g.Add(st[2], bv)}
			})
			dqSpan, dkSpan, dvSpan = st[0], st[1], st[2]
		}
		dqs = append(dqs, dqSpan)
		after := a.k.Dim(1) - s.end()
		dk = e.Add(dk, e.Pad(dkSpan, 1, s.keys, after))
		dv = e.Add(dv, e.Pad(dvSpan, 1, s.keys, after))
	}
	dk, dv = e.scattered(dk, dv)
	shape := func(x hlo.Value, n int) hlo.Value { return e.Reshape(x, e.rows, n, e.seq, d.HeadDim) }
	return shape(e.Concat(2, dqs...), d.Heads), shape(dk, d.KVHeads), shape(dv, d.KVHeads)
}

// keys are what a span's queries see.
type keys struct{ k, kT, v hlo.Value } // [B*K,m,E], [B*K,E,m], [B*K,m,E]

// backwardBlock returns one block's dq [B*K,G,n,E] and its share of dk and dv [B*K,m,E], float32. Scores are computed
// with keys first: then every product contracts the last axis of its left operand, as the fast products on CPU want.
func (a attention) backwardBlock(g *hlo.Graph, b queries, key keys, do, lse, delta hlo.Value, s span) (dq, dk, dv hlo.Value) {
	dims, bk, m, dt := b.q.Dims(), key.k.Dim(0), key.k.Dim(1), key.k.DType()
	n := a.group * s.size
	rows := func(x hlo.Value) hlo.Value { return g.Reshape(x, bk, n, x.Dim(3)) }
	q, do := rows(b.q), rows(do)
	grid := func(x hlo.Value) hlo.Value { return g.Reshape(x, bk, m, a.group, s.size) }
	flat := func(x hlo.Value) hlo.Value { return g.To(g.Reshape(x, bk, m, n), dt) }

	x, slope := capped(g, grid(g.Scale(g.Dot(key.k, 2, q, 2, 1), a.scale)), a.limit)
	x = a.masked(g, x, b, s, 3, 1)
	p := g.Exp(g.Sub(x, g.Like(lse, x, 0, 2, 3)))
	dv = g.Dot(flat(p), 2, do, 1, 1)
	dp := grid(g.Dot(key.v, 2, do, 2, 1))
	ds := flat(g.Scale(times(g, g.Mul(p, g.Sub(dp, g.Like(delta, x, 0, 2, 3))), slope), a.scale))
	dk = g.Dot(ds, 2, q, 1, 1)
	dq = g.Transpose(g.Barrier(g.Dot(key.kT, 2, ds, 1, 1)), 0, 2, 1) // without a barrier, XLA would turn the product instead
	return g.Reshape(dq, dims...), dk, dv
}
