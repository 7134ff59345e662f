package model

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/spec"
)

// Adapter is the LoRA of one linear: W + Scale * B A, with A [Dim, In] and B [Out, Dim].
type Adapter struct {
	Dim   int
	Scale float64 // alpha/dim, or alpha/sqrt(dim) with rank-stabilised LoRA
	DoRA  bool    // the rows of that have learnt lengths: a magnitude each
}

// Config says which programs to make.
type Config struct {
	Decoder  *spec.Decoder
	Compute  dtypes.DType       // of activations and frozen weights: Float32 or BFloat16
	Adapters map[string]Adapter // by module name ("model.layers.0.self_attn.q_proj")
	RateB    float64            // LoRA+: learning rate of every B as a multiple of the optimizer's; 0 = 1
	Float8   bool               // the frozen weights of the blocks' products are kept, and multiplied, in 8-bit floats; only where Float8Refused is nil
	Ends     int                // with Float8: that many blocks at either end of the decoder are as they are without
	Head8    bool               // with Float8: the loss multiplies with the head in 8-bit floats too
	Full     bool               // full fine-tuning: every base parameter is trained, in float32
	Embed    bool               // with adapters: the embedding is trained in full, and so is a head that is one with it
	Head     bool               // with adapters: a head of its own is trained in full
	Dropout  float64            // on the input of A, or,
	DropPost bool               // if this is set, on what B gives
	Remat    Remat              // what a block saves for its backward pass
	Target   Target             // what the programs are written for
	Flash    bool               // attention by cuDNN; only where FlashRefused is nil
	Kernels  bool               // gorun's own GPU kernels; only where KernelsRefused is nil and the device has them
	Split    Split              // which part of the work is done here
}

// Remat is what is computed again in the backward pass instead of saved.
type Remat int

// The policies, from most memory to least.
const (
	RematNone      Remat = iota // save the inputs of every product
	RematSelective              // compute gate and up again: they are the widest activations
	RematFull                   // save only the block's input
)

// Role is what a parameter is to its linear or norm.
type Role int

// The roles.
const (
	Base   Role = iota // a tensor of the checkpoint, or several stacked
	Turned             // the parameter before it, in 8-bit floats, with rows for columns [In, Out]
	Unit               // what a number of the two parameters before it counts [1]
	LoraA              // [Dim, In]
	LoraB              // [Out, Dim]
	LoraM              // DoRA's magnitudes [Out]
)

// Param is one parameter of a group, as the programs take it.
type Param struct {
	Name      string // of the first tensor, or "<module>.lora_A.weight", "<module>.lora_B.weight", "<module>.lora_magnitude_vector"
	Role      Role
	Shape     device.Shape
	Trainable bool
	Rate      float64 // of a trained one: its learning rate as a multiple of the optimizer's
	Parts     []Part  // what it is made of, stacked along axis 0; rows after them are zero
	Split     bool    // the parts of Split.Tensor hold different blocks of Parts' tensors; else all hold the same

	shared bool // every part of Split.Tensor has a share of its gradient: the programs add them up
}

// Group is a set of parameters that programs take together: one block, or the root (embedding, final norm, head).
type Group struct {
	Name   string
	Params []Param
}

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

// newBlock lays out block number n of the decoder.
func newBlock(cfg Config, n int) (block, error) {
	d := cfg.Decoder
	cfg.Float8 = cfg.Float8 && n >= cfg.Ends && n < d.Layers-cfg.Ends
	prefix := spec.BlockPrefix(n)
	l := &layout{cfg: cfg, group: Group{Name: fmt.Sprintf("block %d", n)}}
	mods := map[string]spec.Linear{}
	for _, m := range d.Linears(n) {
		mods[m.Name[len(prefix):]] = m
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
	qkv := pick(d.FusedQKV, "self_attn.qkv_proj", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
	out := pick(false, "", "self_attn.o_proj")
	var mlp, down []spec.Linear
	if !d.Sparse(n) {
		mlp = pick(d.FusedMLP, "mlp.gate_up_proj", "mlp.gate_proj", "mlp.up_proj")
		down = pick(false, "", "mlp.down_proj")
	}
	for _, m := range slices.Concat(qkv, out, mlp, down) {
		if m.Name == "" {
			return block{}, fmt.Errorf("model: block %d of family %s has linears %v: not a layout that gorun knows", n, d.Family, d.Linears(n))
		}
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
	b.qkv = l.linear("q, k and v", false, []int{nq, nk, nk}, qkv...)
	if d.QKNorm {
		q, k := d.QKNormDims()
		b.qNorm = l.norm(prefix+"self_attn.q_norm.weight", q, split)
		b.kNorm = l.norm(prefix+"self_attn.k_norm.weight", k, split)
	}
	b.out = l.linear("attention output", true, []int{d.Hidden}, out...)
	b.normAfter1 = norm(1)
	b.norm2 = norm(2)
	if d.Sparse(n) {
		b.mixture = l.newMixture(n)
	} else {
		b.mlp = l.linear("gate and up", false, []int{d.Intermediate, d.Intermediate}, mlp...)
		b.down = l.linear("down", true, []int{d.Hidden}, down...)
		b.mlp.coarse, b.down.byRow = true, true
	}
	b.normAfter2 = norm(3)
	l.adapt(&b.qkv, qkv...)
	l.adapt(&b.out, out...)
	l.adapt(&b.mlp, mlp...)
	l.adapt(&b.down, down...)
	if b.mixture != nil {
		if err := l.adaptExperts(b.mixture, n); err != nil {
			return block{}, err
		}
	}
	b.group = l.group
	return b, nil
}

// trainable lists the indexes of a group's trained parameters, the order in which gradients are returned.
func (g Group) trainable() []int {
	var out []int
	for i, p := range g.Params {
		if p.Trainable {
			out = append(out, i)
		}
	}
	return out
}

// Trainable lists a group's trained parameters, the order in which gradients are returned.
func (g Group) Trainable() []Param {
	idx := g.trainable()
	out := make([]Param, len(idx))
	for i, j := range idx {
		out[i] = g.Params[j]
	}
	return out
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
