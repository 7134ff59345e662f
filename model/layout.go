package model

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/spec"
)

// segment is one linear of the checkpoint inside a fused product: output features [from, to) and its adapter.
type segment struct {
	from, to int
	wide     int    // output features of the whole linear
	rows     []Part // which of those they are
	a, b, m  int    // indexes of the adapter's parameters; -1 = none
	Adapter
}

// linear is one product of a block: one or more linears of the checkpoint that share their input, fused.
type linear struct {
	name    string
	in, out int  // of what is here
	columns bool // where split, the weight is by its columns, else by its rows
	first   int  // by columns: the first input feature that is here
	wide    int  // input features of the whole
	weight  int  // index of the weight [out, in]
	turned  int  // in 8-bit floats: index of the weight again, [in, out]
	unit    int  // and of its unit
	byRow   bool // in 8-bit floats: each row of the input has its own unit
	coarse  bool // in 8-bit floats: the gradient of the result is in E5M2, else in E4M3
	bias    int  // index of the bias [out]; -1 = none
	segs    []segment
	splits  []int // widths of the pieces that the block goes on with, e.g. q, k, v
}

// block is the layout of one decoder block: where its parameters are, and in what it differs from others.
type block struct {
	group               Group
	norm1, norm2        int // of what attention and MLP take; -1 = none
	normAfter1          int // of what attention gives
	normAfter2          int // of what the MLP gives
	qNorm, kNorm        int // -1 = none
	qkv, out, mlp, down linear
	mixture             *mixture // in the place of mlp and down; nil = none
	float8              bool     // the products' weights are in 8-bit floats
	rope                bool
	window              int // keys that a query sees; 0 = all before it
}

// layout builds parameter lists.
type layout struct {
	cfg   Config
	group Group
}

// add appends a parameter of whole size dims, or of the given parts of it, and returns its index.
func (l *layout) add(p Param, dtype dtypes.DType, dims []int, parts ...Part) int {
	if p.Name == "" {
		p.Name = parts[0].Tensor
	}
	if p.Rate == 0 && p.Trainable {
		p.Rate = 1
	}
	p.Shape, p.Parts = device.MakeShape(dtype, dims...), parts
	l.group.Params = append(l.group.Params, p)
	return len(l.group.Params) - 1
}

// base adds a parameter of the checkpoint.
func (l *layout) base(p Param, dims []int, parts ...Part) int {
	p.Trainable = p.Trainable || l.cfg.Full
	dtype := l.cfg.Compute
	if p.Trainable {
		dtype = dtypes.Float32
	}
	return l.add(p, dtype, dims, parts...)
}

// norm adds the weight of a norm. Where its input is split, so are the terms of its gradient.
func (l *layout) norm(name string, n int, split bool) int {
	return l.base(Param{shared: split}, []int{n}, whole(name, n))
}

// linear adds the weight and bias of the fused product of mods, all with the same input. splits are the widths of the
// whole's pieces. Split by rows, each piece is: a fused tensor's q, k and v each have heads for every part.
func (l *layout) linear(name string, columns bool, splits []int, mods ...spec.Linear) linear {
	t := l.cfg.Split.Tensor
	lin := linear{name: name, columns: columns, in: mods[0].In, wide: mods[0].In, bias: -1, splits: splits}
	if columns {
		lin.in = t.of(lin.wide)
		lin.first = t.Index * lin.in
	} else {
		lin.splits = make([]int, len(splits))
		for i, w := range splits {
			lin.splits[i] = t.of(w)
		}
	}
	var weights, biases []Part
	for _, m := range mods {
		seg := segment{from: lin.out, wide: m.Out, a: -1, b: -1, m: -1}
		for _, p := range l.rows(columns, m.Out, &splits) {
			seg.rows = append(seg.rows, p)
			weights = append(weights, p.of(m.Name+".weight", m.Out, m.In).columns(lin.first, lin.in))
			if m.Bias {
				biases = append(biases, p.of(m.Name+".bias", m.Out))
			}
			lin.out += p.Rows
		}
		seg.to = lin.out
		lin.segs = append(lin.segs, seg)
	}
	if l.cfg.Float8 {
		l.float8(&lin, weights[0].Tensor, weights...)
	} else {
		lin.weight = l.base(Param{Split: t.split()}, []int{lin.out, lin.in}, weights...)
	}
	if biases != nil {
		lin.bias = l.base(Param{Split: t.split() && !columns}, []int{lin.out}, biases...)
	}
	return lin
}

// rows lists which of a linear's out rows are here, taking the pieces that it makes off the list of pieces.
func (l *layout) rows(columns bool, out int, pieces *[]int) []Part {
	t := l.cfg.Split.Tensor
	if columns || !t.split() {
		return []Part{{Rows: out}}
	}
	var list []Part
	for at := 0; at < out; *pieces = (*pieces)[1:] {
		n := t.of((*pieces)[0])
		list = append(list, Part{From: at + t.Index*n, Rows: n})
		at += (*pieces)[0]
	}
	return list
}

// adapt adds the adapters of a product's linears; they come after all base parameters of the group.
func (l *layout) adapt(lin *linear, mods ...spec.Linear) {
	split := l.cfg.Split.Tensor.split()
	for i, m := range mods {
		adapter, ok := l.cfg.Adapters[m.Name]
		if !ok {
			continue
		}
		seg := &lin.segs[i]
		seg.Adapter = adapter
		a := Param{Name: m.Name + suffixA, Role: LoraA, Trainable: true, Split: split && lin.columns, shared: split && !lin.columns}
		seg.a = l.add(a, dtypes.Float32, []int{adapter.Dim, lin.in}, whole(a.Name, adapter.Dim, m.In).columns(lin.first, lin.in))
		b := Param{Name: m.Name + suffixB, Role: LoraB, Trainable: true, Rate: l.cfg.RateB, Split: split && !lin.columns, shared: split && lin.columns}
		var parts []Part
		for _, p := range seg.rows {
			parts = append(parts, p.of(b.Name, m.Out, adapter.Dim))
		}
		seg.b = l.add(b, dtypes.Float32, []int{seg.to - seg.from, adapter.Dim}, parts...)
		if adapter.DoRA {
			seg.m = l.magnitude(m, *seg, lin.columns)
		}
	}
}

// linears are a block's, by what multiplies with them; of a block with experts mlp and down are nil.
type linears struct{ qkv, out, mlp, down []spec.Linear }

// linearsOf finds those of block number n among the decoder's.
func linearsOf(d *spec.Decoder, n int) (l linears, err error) {
	mods := map[string]spec.Linear{}
	for _, m := range d.Linears(n) {
		mods[m.Name[len(spec.BlockPrefix(n)):]] = m
	}
	pick := func(fused bool, whole string, names ...string) []spec.Linear {
		if fused {
			names = []string{whole}
		}
		out := make([]spec.Linear, len(names))
		for i, name := range names {
			out[i] = mods[name]
		}
		return out
	}
	l.qkv = pick(d.FusedQKV, "self_attn.qkv_proj", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
	l.out = pick(false, "", "self_attn.o_proj")
	if !d.Sparse(n) {
		l.mlp = pick(d.FusedMLP, "mlp.gate_up_proj", "mlp.gate_proj", "mlp.up_proj")
		l.down = pick(false, "", "mlp.down_proj")
	}
	for _, m := range slices.Concat(l.qkv, l.out, l.mlp, l.down) {
		if m.Name == "" {
			return l, fmt.Errorf("model: block %d of family %s has linears %v: not a layout that gorun knows", n, d.Family, d.Linears(n))
		}
	}
	return l, nil
}

// newBlock lays out block number n of the decoder.
func newBlock(cfg Config, n int) (block, error) {
	d := cfg.Decoder
	cfg.Float8 = cfg.Float8 && n >= cfg.Ends && n < d.Layers-cfg.Ends
	prefix := spec.BlockPrefix(n)
	l := &layout{cfg: cfg, group: Group{Name: fmt.Sprintf("block %d", n)}}
	mods, err := linearsOf(d, n)
	if err != nil {
		return block{}, err
	}

	nq, nk := d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	split, stream := cfg.Split.Tensor.split(), cfg.Split.Sequence
	norms := d.BlockNorms(n)
	norm := func(i int) int {
		if norms[i] == "" {
			return -1
		}
		return l.norm(norms[i], d.Hidden, stream)
	}
	b := block{qNorm: -1, kNorm: -1, float8: cfg.Float8, rope: d.NoRope == nil || !d.NoRope[n]}
	if d.Window != nil {
		b.window = d.Window[n]
	}
	b.norm1 = norm(0)
	b.qkv = l.linear("q, k and v", false, []int{nq, nk, nk}, mods.qkv...)
	if d.QKNorm {
		q, k := d.QKNormDims()
		b.qNorm = l.norm(prefix+"self_attn.q_norm.weight", q, split)
		b.kNorm = l.norm(prefix+"self_attn.k_norm.weight", k, split)
	}
	b.out = l.linear("attention output", true, []int{d.Hidden}, mods.out...)
	b.normAfter1 = norm(1)
	b.norm2 = norm(2)
	if d.Sparse(n) {
		b.mixture = l.newMixture(n)
	} else {
		b.mlp = l.linear("gate and up", false, []int{d.Intermediate, d.Intermediate}, mods.mlp...)
		b.down = l.linear("down", true, []int{d.Hidden}, mods.down...)
		b.mlp.coarse, b.down.byRow = true, true
	}
	b.normAfter2 = norm(3)
	l.adapt(&b.qkv, mods.qkv...)
	l.adapt(&b.out, mods.out...)
	l.adapt(&b.mlp, mods.mlp...)
	l.adapt(&b.down, mods.down...)
	if b.mixture != nil {
		if err := l.adaptExperts(b.mixture, n); err != nil {
			return block{}, err
		}
	}
	b.group = l.group
	if cfg.Float8 && cfg.OneCopy {
		b.divide(cfg.Remat)
	}
	return b, nil
}

// kind names what distinguishes the programs of one block from another's: blocks of the same kind share programs.
func (b block) kind() string {
	s := fmt.Sprintf("rope=%t window=%d", b.rope, b.window)
	for _, l := range []linear{b.qkv, b.out, b.mlp, b.down} {
		s += fmt.Sprint(" ", l)
	}
	if b.mixture != nil {
		s += fmt.Sprint(" ", *b.mixture)
	}
	return s
}
