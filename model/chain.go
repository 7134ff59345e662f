package model

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// Token is the next token of every text of a Decoding, which stays on the device: the one after it can be made before
// anybody has read it.
type Token struct {
	ids, positions *device.Buffer // [B,1] int32
	logp           *device.Buffer // [B] float32; nil of tokens that the caller gave
}

// Given uploads tokens and their positions, one for each text.
func (d *Decoding) Given(ids, positions []int32) (*Token, error) {
	if len(ids) != d.rows || len(positions) != d.rows {
		return nil, fmt.Errorf("model: %d ids, %d positions for %d rows", len(ids), len(positions), d.rows)
	}
	for _, at := range positions {
		if err := d.inside(at); err != nil {
			return nil, err
		}
	}
	r := &Run{m: d.m}
	t := &Token{ids: r.upload(ids, d.rows, 1), positions: r.upload(positions, d.rows, 1)}
	if r.err != nil {
		t.Free()
		return nil, r.err
	}
	return t, nil
}

// Next appends a token to every text and returns the likeliest next ones. It waits for nothing: errors of the device show
// when a token is read. Texts that have filled the cache stay at its last place.
func (d *Decoding) Next(p Params, t *Token) (*Token, error) {
	r := &Run{m: d.m, shape: Shape{Rows: d.rows, Seq: 1}, ids: t.ids, positions: t.positions}
	d.blocks(p, r)
	root := p.Root()
	if r.err == nil && root == nil {
		r.err = errors.New("model: no parameters")
	}
	var out []*device.Buffer
	if r.err == nil {
		prog, err := d.m.pick(d.cfg, r.shape, d.capacity)
		out = r.execute(prog, err, root[d.m.root.norm], root[d.m.root.head], r.x[len(r.x)-1], t.positions)
	}
	r.ids, r.positions = nil, nil // the caller's
	if err := r.End(); err != nil {
		return nil, err
	}
	return &Token{out[0], out[1], out[2]}, nil
}

// Read waits for a token and returns its ids and their log-probabilities.
func (t *Token) Read() (ids []int32, logp []float32, err error) {
	if ids, err = device.ToSlice[int32](t.ids); err != nil {
		return nil, nil, err
	}
	for row, id := range ids {
		if id < 0 {
			return nil, nil, fmt.Errorf("model: the logits of row %d are no numbers: the weights or the adapter are broken, or too large for this dtype", row)
		}
	}
	logp, err = device.ToSlice[float32](t.logp)
	return ids, logp, err
}

// Free gives the token's memory back; what was made of it needs it no more.
func (t *Token) Free() { device.FreeAll([]*device.Buffer{t.ids, t.positions, t.logp}) }

func (m *Model) pick(cfg Config, s Shape, capacity int) (*device.Program, error) {
	return m.program(fmt.Sprint("pick ", s, capacity), func() (device.Source, error) { return m.root.buildPick(cfg, s, capacity) })
}

// buildPick is the program: norm, head, x [B,D], positions [B,1] -> the likeliest id of each row [B,1], of several the
// smallest and -1 if the logits are no numbers, the next positions [B,1], and the ids' log-probabilities [B] float32.
func (r root) buildPick(cfg Config, s Shape, capacity int) (device.Source, error) {
	return hlo.Build("pick", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, r.headParams(), s)
		logits := r.allLogits(e, g.Input(cfg.stream(s)))
		positions := g.Input(device.MakeShape(dtypes.Int32, s.Rows, 1))
		top := g.MaxOver(logits, 1)
		column := g.Neg(g.Iota(dtypes.Int32, 1, logits.Dims()...))
		likeliest := g.Select(g.Compare(logits, "==", g.Like(top, logits, 0)), column, g.Const(dtypes.Int32, -1<<31))
		id := g.MaxOver(likeliest, 1)
		id = g.Select(g.Compare(id, "==", g.Const(dtypes.Int32, -1<<31)), g.Const(dtypes.Int32, -1), g.Neg(id))
		logp := g.Neg(g.Log(g.Sum(g.Exp(g.Sub(logits, g.Like(top, logits, 0))), 1)))
		next := g.Min(g.Add(positions, g.Const(dtypes.Int32, 1)), g.Const(dtypes.Int32, float64(capacity-1)))
		return []hlo.Value{g.Reshape(id, s.Rows, 1), next, logp}
	})
}

// allLogits are the logits [B,V] float32 of hidden states [B,D], of all the vocabulary.
func (r root) allLogits(e *emit, x hlo.Value) hlo.Value {
	var y hlo.Value
	if k, ok := r.headKernel(e.cfg, x.Dim(0)); ok {
		y = e.Few(k, x, e.weight(1), hlo.FewOperands{Norm: e.weight(0)})
	} else {
		y = e.NT(e.norm(x, 0), e.weight(1))
	}
	logits, _ := e.logits(e.Graph, y)
	if v := r.vocab; v.split() {
		all := e.AllGather(v.comm(), "logits", e.Transpose(logits, 1, 0))
		logits = e.Transpose(e.Slice(all, 0, 0, v.end), 1, 0)
	}
	return logits
}
