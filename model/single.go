package model

import (
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
	"gorun/model/hlo"
	"gorun/model/spec"
)

// A block's extend program for one token of a few texts, by kernels whose time is that of reading the weights: six
// launches a block, where XLA's own have some twenty. Adapters add one for each product, and one that puts them together.

// single are the kernels of such a program.
type single struct {
	qkv, out, mlp, down kernels.Few
	cached              kernels.Cached
}

// plain tells whether the decoder's blocks are made of what single's kernels compute: a norm before each half of the
// block and none after, and SiLU.
func plain(d *spec.Decoder) bool {
	return !d.NormPlusOne && d.AttentionCap == 0 && d.Activation == "silu" && (d.ResidualScale == 0 || d.ResidualScale == 1)
}

// singleKernels are the block's, for rows texts and a cache of so many places, and whether there are all that it needs. The
// last product may be XLA's: its operand, the widest, is the first that does not fit where there are more rows.
func (b block) singleKernels(cfg Config, rows, capacity int) (s single, ok bool) {
	d := cfg.Decoder
	normed := slices.Contains([]int{b.norm1, b.norm2}, -1) || max(b.normAfter1, b.normAfter2, b.qNorm, b.kNorm) >= 0
	if !cfg.Kernels || cfg.Float8 || cfg.KernelsRefused() != nil || b.mixture != nil || normed || !plain(d) {
		return s, false
	}
	product := func(l linear, pieces []int, k kernels.Few) kernels.Few {
		k.Rows, k.In, k.Pieces, k.Bias, k.Eps = rows, l.in, pieces, l.bias >= 0, d.NormEps
		for _, a := range l.adapted() {
			k.Dim = max(k.Dim, kernels.Padded(a.Dim))
		}
		return k
	}
	s.qkv = product(b.qkv, b.qkv.splits, kernels.Few{Out: b.qkv.out, Norm: true})
	s.out = product(b.out, b.out.splits, kernels.Few{Out: b.out.out, Add: true})
	s.mlp = product(b.mlp, b.mlp.splits, kernels.Few{Out: b.mlp.out / 2, Norm: true, Gated: true})
	s.down = product(b.down, b.down.splits, kernels.Few{Out: b.down.out, Add: true})
	s.cached = kernels.Cached{Rows: rows, Heads: d.Heads, KV: d.KVHeads, Width: d.HeadDim, Capacity: capacity, Window: b.window, Scale: d.ScoreScale()}
	if b.rope {
		s.cached.Turned = d.Rope.Dim
	}
	ok = s.cached.Fits() && s.qkv.Fits() && s.out.Fits() && s.mlp.Fits()
	for _, l := range []linear{b.qkv, b.out, b.mlp, b.down} {
		ok = ok && !l.hasMagnitude()
	}
	return s, ok
}

// launched are the flags of programs of a few short kernels whose arguments are others each time: their kernels are launched
// one by one. XLA would record them into a CUDA graph, and record it anew for each block's weights: an 8B model's and a 1B
// model's tokens both took 160 us of the host for each program with graphs (H100), more than the GPU needs.
var launched = map[string]string{"xla_gpu_graph_min_graph_size": "1000"}

// buildSingle is buildExtend of one token a row by the kernels s.
func (b block) buildSingle(cfg Config, shape Shape, capacity int, s single) (device.Source, error) {
	src, err := hlo.Build("extend", func(g *hlo.Graph) []hlo.Value {
		e := newEmit(g, cfg, b.group, shape)
		e.context(shape, false)
		at := g.Reshape(g.Input(device.MakeShape(dtypes.Int32, shape.Rows, 1)), shape.Rows)
		x := g.Input(cfg.stream(shape))
		cache := device.MakeShape(cfg.Compute, shape.Rows, cfg.Decoder.KVHeads, capacity, cfg.Decoder.HeadDim)
		keys, values := g.Donated(cache, 1), g.Donated(cache, 2)
		lows := b.singleStacks(e, s)
		cos, sin := e.angles()

		qkv := lows[0].product(e, b.qkv, s.qkv, x, hlo.FewOperands{Norm: e.weight(b.norm1)})
		o, keys, values := e.CachedAttention(s.cached, qkv, cos, sin, at, keys, values)
		x2 := lows[1].product(e, b.out, s.out, o, hlo.FewOperands{Add: x})
		m := lows[2].product(e, b.mlp, s.mlp, x2, hlo.FewOperands{Norm: e.weight(b.norm2)})
		if !s.down.Fits() {
			y, _ := b.down.forward(e, m)
			return []hlo.Value{e.Add(x2, e.c(y[0])), keys, values}
		}
		return []hlo.Value{lows[3].product(e, b.down, s.down, m, hlo.FewOperands{Add: x2}), keys, values}
	})
	src.Flags = launched
	return src, err
}

// low are a product's adapters, by pieces: A [pieces*Dim,In] and B [rows of w,Dim]; not valid without adapters.
type low struct{ a, b hlo.Value }

// singleStacks puts together the adapters of the block's four products.
func (b block) singleStacks(e *emit, s single) (out [4]low) {
	var matrices []kernels.Matrix
	var tensors []hlo.Value
	var into []*hlo.Value
	for i, p := range []struct {
		linear
		k kernels.Few
	}{{b.qkv, s.qkv}, {b.out, s.out}, {b.mlp, s.mlp}, {b.down, s.down}} {
		if p.k.Dim == 0 || !p.k.Fits() {
			continue
		}
		ma, as := p.matrixLow(e, p.k.Dim)
		mb, bs := p.matrixPieces(e, p.k.Dim)
		matrices, tensors = append(matrices, ma, mb), append(append(tensors, as...), bs...)
		into = append(into, &out[i].a, &out[i].b)
	}
	if matrices != nil {
		for i, v := range e.Stack(matrices, tensors) {
			*into[i] = v
		}
	}
	return out
}

// matrixLow is A by pieces [pieces*dim,in], each piece's rows those of its adapter.
func (l linear) matrixLow(e *emit, dim int) (m kernels.Matrix, tensors []hlo.Value) {
	m.Rows, m.Cols = len(l.splits)*dim, l.in
	for i, p := range l.portions() {
		if p == nil {
			continue
		}
		m.Pieces = append(m.Pieces, kernels.Piece{Rows: p.Dim, Cols: l.in, Row: i * dim, Factor: 1})
		tensors = append(tensors, e.w[p.a])
	}
	return m, tensors
}

// product is the linear's product of x, whose operands besides its own are o.
func (w low) product(e *emit, l linear, k kernels.Few, x hlo.Value, o hlo.FewOperands) hlo.Value {
	if w.a.Valid() {
		t := kernels.Few{Rows: k.Rows, In: k.In, Out: w.a.Dim(0), Norm: k.Norm, Eps: k.Eps, Wide: true}
		o.T, o.B = e.Few(t, x, w.a, hlo.FewOperands{Norm: o.Norm}), w.b
	}
	if k.Bias {
		o.Bias = e.weight(l.bias)
	}
	return e.Few(k, x, e.weight(l.weight), o)
}

// headKernel is the kernel of the logits of rows texts, and whether there is one.
func (r root) headKernel(cfg Config, rows int) (kernels.Few, bool) {
	k := kernels.Few{Rows: rows, In: cfg.Decoder.Hidden, Out: r.vocab.count, Norm: true, Eps: cfg.Decoder.NormEps, Wide: true}
	return k, cfg.Kernels && cfg.KernelsRefused() == nil && !cfg.Decoder.NormPlusOne && k.Fits()
}
