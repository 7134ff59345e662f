package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// Params hands out whole parameters, group by group; fsdp's pass is one.
type Params interface {
	Root() []*device.Buffer
	Unshard(l int) []*device.Buffer
	Reshard(l int)
}

// Decoding is a batch of sequences that grow: the keys and values of all positions so far stay on the device. The
// first Feed or Fill takes the prompts, later ones a token per row. Score tries what may follow and keeps none of it.
type Decoding struct {
	m              *Model
	cfg            Config // every part of Split.Tensor takes all tokens, for its own heads
	rows, capacity int
	k, v           []*device.Buffer // per layer [B,K,C,E], compute dtype
}

// NewDecoding makes room for rows sequences of up to capacity positions.
func (m *Model) NewDecoding(rows, capacity int) (*Decoding, error) {
	d := &Decoding{m: m, cfg: m.cfg.unsplitStream(), rows: rows, capacity: capacity}
	d.cfg.Remat = RematFull // nothing is kept for a backward pass
	shape := d.cacheShape()
	zero := make([]byte, shape.Bytes())
	for range m.blocks {
		for _, list := range []*[]*device.Buffer{&d.k, &d.v} {
			b, err := m.dev.Upload(zero, shape)
			if err != nil {
				d.Close()
				return nil, fmt.Errorf("model: key/value cache of %d positions: %w", capacity, err)
			}
			*list = append(*list, b)
		}
	}
	return d, nil
}

// Close frees the cache.
func (d *Decoding) Close() { device.FreeAll(d.k, d.v) }

func (d *Decoding) cacheShape() device.Shape {
	dec := d.cfg.part()
	return device.MakeShape(d.cfg.Compute, d.rows, dec.KVHeads, d.capacity, dec.HeadDim)
}

// Feed appends n tokens to every row (ids and positions are [rows*n]; many are prompts, at positions 0..n-1, and padding
// may follow a row's last token) and returns the logits [rows*V] after the token at index last[row] of each row.
func (d *Decoding) Feed(p Params, ids, positions, last []int32) ([]float32, error) {
	if len(last) != d.rows {
		return nil, fmt.Errorf("model: feed of %d last places for %d rows", len(last), d.rows)
	}
	r, err := d.extend(p, ids, positions)
	if err != nil {
		return nil, err
	}
	rows := make([]int32, d.rows)
	for b, at := range last {
		rows[b] = int32(b*r.shape.Seq) + at
	}
	r.rows = r.upload(rows, d.rows)
	root := p.Root()
	if r.fails(root) {
		return nil, r.End()
	}
	prog, err := d.m.logits(d.cfg, r.shape)
	out := r.execute(prog, err, root[d.m.root.norm], root[d.m.root.head], r.x[len(r.x)-1], r.rows)
	defer device.FreeAll(out)
	if err := r.End(); err != nil {
		return nil, err
	}
	return device.ToSlice[float32](out[0])
}

// Fill is Feed where logits are not wanted.
func (d *Decoding) Fill(p Params, ids, positions []int32) error {
	r, err := d.extend(p, ids, positions)
	if err != nil {
		return err
	}
	return r.End()
}

// extend appends tokens to every row; the run is the caller's to end.
func (d *Decoding) extend(p Params, ids, positions []int32) (*Run, error) {
	n := len(ids) / d.rows
	if n < 1 || len(ids) != n*d.rows || len(positions) != len(ids) {
		return nil, fmt.Errorf("model: feed of %d ids, %d positions for %d rows", len(ids), len(positions), d.rows)
	}
	for i, at := range positions {
		if err := d.inside(at); err != nil {
			return nil, err
		}
		if n > 1 && int(at) != i%n {
			return nil, fmt.Errorf("model: position %d at place %d of a prompt: those of many tokens count from 0", at, i%n)
		}
	}
	r := &Run{m: d.m, shape: Shape{Rows: d.rows, Seq: n}}
	r.ids, r.positions = r.upload(ids, d.rows, n), r.upload(positions, d.rows, n)
	d.blocks(p, r)
	return r, nil
}

// inside tells whether the cache has a position.
func (d *Decoding) inside(at int32) error {
	if at < 0 || int(at) >= d.capacity {
		return fmt.Errorf("model: position %d is outside the cache of %d", at, d.capacity)
	}
	return nil
}

// blocks runs all layers on the run's tokens.
func (d *Decoding) blocks(p Params, r *Run) {
	r.embedAt(d.cfg, p.Root(), d.capacity, d.capacity)
	for l := range d.m.blocks {
		w := p.Unshard(l)
		d.block(r, l, w)
		p.Reshard(l)
	}
}

// block runs one layer on the run's x and replaces the layer's cache.
func (d *Decoding) block(r *Run, l int, w []*device.Buffer) {
	if r.err != nil || w == nil {
		return
	}
	p, err := d.m.extend(d.cfg, l, r.shape, d.capacity)
	out := r.execute(p, err, r.context(l, Forward, w, r.positions, r.x[len(r.x)-1], d.k[l], d.v[l])...)
	if r.err != nil {
		return
	}
	device.FreeAll(r.x)
	r.x, d.k[l], d.v[l] = out[:1], out[1], out[2]
}

func (m *Model) extend(cfg Config, layer int, s Shape, capacity int) (*device.Program, error) {
	s, kind := s.block(), m.kinds[layer]
	return m.program(fmt.Sprint("extend ", kind, s, capacity), func() (device.Source, error) {
		return m.blocks[kind].buildExtend(cfg, s, capacity)
	})
}

func (m *Model) logits(cfg Config, s Shape) (*device.Program, error) {
	return m.program(fmt.Sprint("logits ", s), func() (device.Source, error) { return m.root.buildLogits(cfg, s) })
}

// buildExtend is the program: parameters, cosines, sines, of branches also where each starts [B,n], positions [B,n],
// x [B*n,D], keys and values so far [B,K,C,E] (donated) -> y [B*n,D], keys, values.
func (b block) buildExtend(cfg Config, s Shape, capacity int) (device.Source, error) {
	cfg.Float8 = b.float8
	if k, ok := b.singleKernels(cfg, s.Rows, capacity); ok && s.Seq == 1 && !s.Packed {
		return b.buildSingle(cfg, s, capacity, k)
	}
	cfg.Kernels = false // the others are made for what training computes
	return hlo.Build("extend", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, b.group, s)
		e.context(s, false)
		at := g.Input(device.MakeShape(dtypes.Int32, s.Rows, s.Seq))
		x := g.Input(cfg.stream(s))
		dec := e.part
		shape := device.MakeShape(cfg.Compute, s.Rows, dec.KVHeads, capacity, dec.HeadDim)
		keys, values := g.Donated(shape, 1), g.Donated(shape, 2)

		qkv, _ := b.qkv.forward(e, e.norm(x, b.norm1))
		q := e.heads(e.c(qkv[0]), dec.Heads, b.qNorm, b.rope)
		k := e.heads(e.c(qkv[1]), dec.KVHeads, b.kNorm, b.rope)
		v := e.heads(e.c(qkv[2]), dec.KVHeads, -1, false)
		var o hlo.Value
		switch {
		case s.Packed:
			o = newAttention(e, q, e.Concat(2, keys, k), e.Concat(2, values, v), b.window).branches(at, capacity)
		case s.Seq > 1: // a prompt sees itself alone: as in training, it never has all scores at once
			keys, values = e.DynamicUpdate(keys, k, 2, e.Const(dtypes.Int32, 0)), e.DynamicUpdate(values, v, 2, e.Const(dtypes.Int32, 0))
			o, _ = b.attender(e, q, k, v).forward()
		default:
			keys, values = e.store(keys, k, at), e.store(values, v, at)
			o = newAttention(e, q, keys, values, b.window).cached(at)
		}
		yo, _ := b.out.forward(e, o)
		var a acts
		a.x2 = e.Add(x, e.branch(e.c(yo[0]), b.normAfter1))
		b.forwardMLP(e, &a)
		return []hlo.Value{b.forwardDown(e, &a), keys, values}
	})
}

// store writes new [B,K,1,E] into cache [B,K,C,E], at each row's position.
func (e *emit) store(cache, fresh, at hlo.Value) hlo.Value {
	place := e.Iota(dtypes.Int32, 2, cache.Dims()...)
	here := e.Compare(place, "==", e.Broadcast(e.Reshape(at, e.rows), cache.Dims(), 0))
	return e.Select(here, e.Broadcast(e.Reshape(fresh, e.rows, cache.Dim(1), cache.Dim(3)), cache.Dims(), 0, 1, 3), cache)
}

// cached is the attention of queries at positions at [B,n] over a cache: each sees the keys up to its own position.
func (a attention) cached(at hlo.Value) hlo.Value {
	return a.outright(func(dims []int) (seen, back hlo.Value) {
		back = a.e.Sub(a.e.Broadcast(at, dims, 0, 3), a.e.Iota(dtypes.Int32, 4, dims...))
		return a.e.Compare(back, ">=", a.e.Const(dtypes.Int32, 0)), back
	})
}

// outright is the attention of n queries per row over all of C keys in one product: the result is [B*n, H*E]. mask tells
// for dims [B,K,G,n,C] what each query sees, and how many positions back each key is.
func (a attention) outright(mask func(dims []int) (seen, back hlo.Value)) hlo.Value {
	e, d := a.e, a.e.part
	bk, n, c := e.rows*d.KVHeads, e.seq, a.k.Dim(1)
	x, _ := capped(e.Graph, e.Scale(e.Dot(e.Reshape(a.q, bk, a.group*n, d.HeadDim), 2, a.k, 2, 1), a.scale), a.limit)
	x = e.Reshape(x, e.rows, d.KVHeads, a.group, n, c)
	seen, back := mask(x.Dims())
	if a.window > 0 {
		seen = e.And(seen, e.Compare(back, "<", e.Const(dtypes.Int32, float64(a.window))))
	}
	x = e.Select(seen, x, e.Const(dtypes.Float32, -1e30))
	p := e.Exp(e.Sub(x, e.Like(e.MaxOver(x, 4), x, 0, 1, 2, 3)))
	p = e.Div(p, e.Like(e.Sum(p, 4), p, 0, 1, 2, 3))
	o := e.Dot(e.c(e.Reshape(p, bk, a.group*n, c)), 2, a.v, 1, 1)
	return e.c(a.unstack(e.Reshape(o, bk, a.group, n, d.HeadDim)))
}

// buildLogits is the program: norm, head, x [T,D], rows [B] -> logits [B,V] float32, of all the vocabulary.
func (r root) buildLogits(cfg Config, s Shape) (device.Source, error) {
	return hlo.Build("logits", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, r.headParams(), s)
		x := g.Input(cfg.stream(s))
		rows := g.Input(device.MakeShape(dtypes.Int32, s.Rows))
		return []hlo.Value{r.allLogits(e, g.Rows(x, g.Reshape(rows, s.Rows, 1)))}
	})
}
