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
}

// Config says which programs to make.
type Config struct {
	Decoder  *spec.Decoder
	Compute  dtypes.DType       // of activations and frozen weights: Float32 or BFloat16
	Adapters map[string]Adapter // by module name ("model.layers.0.self_attn.q_proj")
	Full     bool               // full fine-tuning: every base parameter is trained, in float32
	Dropout  float64            // on the input of A
	Remat    Remat              // what a block saves for its backward pass
	Target   Target             // what the programs are written for
	Flash    bool               // attention by cuDNN; only where FlashRefused is nil
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
	Base  Role = iota // a tensor of the checkpoint, or several stacked
	LoraA             // [Dim, In]
	LoraB             // [Out, Dim]
)

// Param is one parameter of a group, as the programs take it.
type Param struct {
	Name      string // of the first tensor, or "<module>.lora_A.weight", "<module>.lora_B.weight"
	Role      Role
	Module    string // the adapted linear, for LoraA and LoraB
	Shape     device.Shape
	Trainable bool
	Parts     []Part // for Base: the checkpoint's tensors, stacked along axis 0
}

// Part is a tensor of the checkpoint and the rows it contributes.
type Part struct {
	Tensor string
	Rows   int
}

// Group is a set of parameters that programs take together: one block, or the root (embedding, final norm, head).
type Group struct {
	Name   string
	Params []Param
}

// segment is one linear of the checkpoint inside a fused product: output features [from, to) and its adapter.
type segment struct {
	from, to int
	a, b     int // indexes of the adapter's parameters; -1 = none
	Adapter
}

// linear is one product of a block: one or more linears of the checkpoint that share their input, fused.
type linear struct {
	in, out int
	weight  int // index of the weight [out, in]
	bias    int // index of the bias [out]; -1 = none
	segs    []segment
	splits  []int // widths of the pieces that the block goes on with, e.g. q, k, v
}

// block is the layout of one decoder block: where its parameters are, and in what it differs from others.
type block struct {
	group               Group
	norm1, norm2        int
	qNorm, kNorm        int // -1 = none
	qkv, out, mlp, down linear
	rope                bool
	window              int // keys that a query sees; 0 = all before it
}

// layout builds parameter lists.
type layout struct {
	cfg   Config
	group Group
}

func (l *layout) base(shape []int, parts ...Part) int {
	dtype := l.cfg.Compute
	if l.cfg.Full {
		dtype = dtypes.Float32
	}
	l.group.Params = append(l.group.Params, Param{Name: parts[0].Tensor, Shape: device.MakeShape(dtype, shape...), Trainable: l.cfg.Full, Parts: parts})
	return len(l.group.Params) - 1
}

// linear adds the weight and bias of the fused product of mods, all with the same input.
func (l *layout) linear(splits []int, mods ...spec.Linear) linear {
	lin := linear{in: mods[0].In, bias: -1, splits: splits}
	var weights, biases []Part
	for _, m := range mods {
		lin.segs = append(lin.segs, segment{from: lin.out, to: lin.out + m.Out, a: -1, b: -1})
		lin.out += m.Out
		weights = append(weights, Part{m.Name + ".weight", m.Out})
		if m.Bias {
			biases = append(biases, Part{m.Name + ".bias", m.Out})
		}
	}
	lin.weight = l.base([]int{lin.out, lin.in}, weights...)
	if biases != nil {
		lin.bias = l.base([]int{lin.out}, biases...)
	}
	return lin
}

// adapt adds the adapters of a product's linears; they come after all base parameters of the group.
func (l *layout) adapt(lin *linear, mods ...spec.Linear) {
	for i, m := range mods {
		a, ok := l.cfg.Adapters[m.Name]
		if !ok {
			continue
		}
		add := func(role Role, suffix string, dims ...int) int {
			l.group.Params = append(l.group.Params, Param{Name: m.Name + suffix, Role: role, Module: m.Name, Shape: device.MakeShape(dtypes.Float32, dims...), Trainable: true})
			return len(l.group.Params) - 1
		}
		lin.segs[i].Adapter = a
		lin.segs[i].a = add(LoraA, ".lora_A.weight", a.Dim, m.In)
		lin.segs[i].b = add(LoraB, ".lora_B.weight", m.Out, a.Dim)
	}
}

// newBlock lays out block number n of the decoder.
func newBlock(cfg Config, n int) (block, error) {
	d := cfg.Decoder
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
	mlp := pick(d.FusedMLP, "mlp.gate_up_proj", "mlp.gate_proj", "mlp.up_proj")
	down := pick(false, "", "mlp.down_proj")
	for _, m := range slices.Concat(qkv, out, mlp, down) {
		if m.Name == "" {
			return block{}, fmt.Errorf("model: block %d of family %s has linears %v: not a layout that gorun knows", n, d.Family, d.Linears(n))
		}
	}

	nq, nk := d.Heads*d.HeadDim, d.KVHeads*d.HeadDim
	b := block{qNorm: -1, kNorm: -1, rope: d.NoRope == nil || !d.NoRope[n]}
	if d.Window != nil {
		b.window = d.Window[n]
	}
	b.norm1 = l.base([]int{d.Hidden}, Part{prefix + "input_layernorm.weight", d.Hidden})
	b.qkv = l.linear([]int{nq, nk, nk}, qkv...)
	if d.QKNorm {
		b.qNorm = l.base([]int{d.HeadDim}, Part{prefix + "self_attn.q_norm.weight", d.HeadDim})
		b.kNorm = l.base([]int{d.HeadDim}, Part{prefix + "self_attn.k_norm.weight", d.HeadDim})
	}
	b.out = l.linear([]int{d.Hidden}, out...)
	b.norm2 = l.base([]int{d.Hidden}, Part{prefix + "post_attention_layernorm.weight", d.Hidden})
	b.mlp = l.linear([]int{d.Intermediate, d.Intermediate}, mlp...)
	b.down = l.linear([]int{d.Hidden}, down...)
	l.adapt(&b.qkv, qkv...)
	l.adapt(&b.out, out...)
	l.adapt(&b.mlp, mlp...)
	l.adapt(&b.down, down...)
	b.group = l.group
	return b, nil
}

// root is the layout of the root group.
type root struct {
	group             Group
	embed, norm, head int // head == embed when tied
}

func newRoot(cfg Config) root {
	d := cfg.Decoder
	l := &layout{cfg: cfg, group: Group{Name: "root"}}
	var r root
	r.embed = l.base([]int{d.Vocab, d.Hidden}, Part{"model.embed_tokens.weight", d.Vocab})
	r.norm = l.base([]int{d.Hidden}, Part{"model.norm.weight", d.Hidden})
	r.head = r.embed
	if !d.TiedHead {
		r.head = l.base([]int{d.Vocab, d.Hidden}, Part{"lm_head.weight", d.Vocab})
	}
	r.group = l.group
	return r
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
	return s
}
