package model

import (
	"math"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// The head and the cross-entropy are one program over chunks of rows, so full logits never exist; and it only looks at
// positions that have a label: a prompt costs no head. Rows are padded to a few sizes with row 0 and label -100.

// ignored is the label of a position that is not supervised.
const ignored = -100

// maxLogits is the most logits that exist at once. A GPU wants large products, whose result is cheap beside them only if
// the head's weights are read for many rows.
func maxLogits(t Target) int {
	if t == CUDA {
		return 256 << 20
	}
	return 16 << 20
}

// LossRows rounds a number of supervised positions up to a size that programs are compiled for.
func LossRows(valid int) int {
	if valid > 256 {
		return (valid + 255) / 256 * 256
	}
	n := 16
	for n < valid {
		n *= 2
	}
	return n
}

// lossChunk is how many rows of logits are made at once; it divides rows, which are a result of LossRows.
func lossChunk(rows, vocab int, t Target) int {
	most := maxLogits(t)
	if t == CUDA && rows > 256 { // a multiple of 256
		for n := 1; n < rows/256; n++ {
			if rows/256%n == 0 && rows/n*vocab <= most {
				return rows / n
			}
		}
	}
	c := min(rows, 256)
	for c > 16 && c*vocab > most {
		c /= 2
	}
	return c
}

// lossArgs declares the arguments that loss and score share and returns the rows' hidden states.
type lossArgs struct {
	*emit
	vocab        vocabulary
	head         hlo.Value // what is here of [V,D], compute dtype
	x            hlo.Value // what is here of [T,D]
	rows, labels hlo.Value // [N] int32
	xND          hlo.Value // gathered rows
}

// headParams are the parameters of the root group that the loss takes.
func (r root) headParams() Group {
	return Group{Name: r.group.Name, Params: []Param{r.group.Params[r.norm], r.group.Params[r.head]}}
}

func openLoss(g *hlo.Graph, cfg Config, r root, s Shape, donate int) lossArgs {
	a := lossArgs{emit: newEmit(g, cfg, r.headParams(), s), vocab: r.vocab}
	a.head = a.weight(1)
	if donate >= 0 {
		a.x = g.Donated(cfg.stream(s), donate)
	} else {
		a.x = g.Input(cfg.stream(s))
	}
	a.rows = g.Input(device.MakeShape(dtypes.Int32, s.Loss))
	a.labels = g.Input(device.MakeShape(dtypes.Int32, s.Loss))
	a.xND = g.Rows(a.whole("loss", a.x), g.Reshape(a.rows, s.Loss, 1))
	return a
}

// scores are a chunk's logits as its loss wants them; with a split vocabulary, those of the rows here.
type scores struct {
	logits hlo.Value // [C,V]
	steep  hlo.Value // their slope by the products with the head; invalid = 1
	lse    hlo.Value // log-sum-exp of each row's logits, of all the vocabulary [C]
	logp   hlo.Value // log-probability of each row's label [C], 0 where ignored
	column hlo.Value // the label's column [C]; -1 where it is ignored or not here
	valid  hlo.Value // whether there is a label [C]
}

// score computes the logits of hidden states [C,D] and what they say of labels [C].
func (a lossArgs) score(g *hlo.Graph, hCD, labels hlo.Value) scores {
	v := a.vocab
	var s scores
	s.logits, s.steep = a.logits(g, g.F32(g.Product(hCD, 1, a.head, 1, a.cfg.products())))
	s.valid = g.Compare(labels, "!=", g.Const(dtypes.Int32, ignored))
	if v.first+v.count > v.end {
		known := g.Compare(g.Iota(dtypes.Int32, 1, s.logits.Dims()...), "<", g.Const(dtypes.Int32, float64(v.end-v.first)))
		s.logits = g.Select(known, s.logits, g.Const(dtypes.Float32, -1e30))
	}
	zero := g.Const(dtypes.Float32, 0)
	here, own := s.valid, labels
	if v.split() {
		own = v.local(g, labels)
		here = g.And(here, g.And(g.Compare(own, ">=", g.Const(dtypes.Int32, 0)), g.Compare(own, "<", g.Const(dtypes.Int32, float64(v.count)))))
	}
	s.column = g.Select(here, own, g.Const(dtypes.Int32, -1))
	label := g.Select(here, g.At(s.logits, s.column), zero)
	top := g.MaxOver(s.logits, 1)
	sum := g.Sum(g.Exp(g.Sub(s.logits, g.Like(top, s.logits, 0))), 1)
	if v.split() {
		top, sum, label = v.joined(g, top, sum, label)
	}
	s.lse = g.Add(top, g.Log(sum))
	s.logp = g.Select(s.valid, g.Sub(label, s.lse), zero)
	return s
}

// slope is the gradient of the summed losses by the products of hidden states [C,D] with the head, in the compute dtype [C,V],
// and the log-probability of each label [C].
func (a lossArgs) slope(g *hlo.Graph, hCD, labels hlo.Value) (dl, logp hlo.Value) {
	if k, ok := a.cfg.entropyKernel(hCD.Dim(0), a.vocab); ok {
		return g.Entropy(k, g.Product(hCD, 1, a.head, 1, a.cfg.products()), labels)
	}
	s := a.score(g, hCD, labels)
	return s.slope(g, a.cfg.Compute), s.logp
}

// slope is the gradient of the summed losses by the products with the head [C,V], in the compute dtype: soft-max minus one at the
// label, and zero in ignored rows. The label's place is set after the rest was rounded: near one, only the difference
// is exact.
func (s scores) slope(g *hlo.Graph, compute dtypes.DType) hlo.Value {
	lse := g.Select(s.valid, s.lse, g.Const(dtypes.Float32, math.MaxFloat32)) // exp of anything less is 0
	p := g.To(g.Exp(g.Sub(s.logits, g.Like(lse, s.logits, 0))), compute)
	d := g.SetAt(p, s.column, g.To(g.Sub(g.Exp(s.logp), g.Const(dtypes.Float32, 1)), compute))
	if s.steep.Valid() {
		d = g.To(g.Mul(g.F32(d), s.steep), compute)
	}
	return d
}

// joined merges each row's greatest logit, sum of exponentials relative to it and label's logit [C] over the parts of
// the vocabulary, in one small collective.
func (v vocabulary) joined(g *hlo.Graph, top, sum, label hlo.Value) (allTop, allSum, allLabel hlo.Value) {
	c := top.Dim(0)
	all := g.AllGather(v.comm(), "soft-max", g.Concat(0, top, sum, label))
	all = g.Reshape(all, v.Parts, 3, c)
	pick := func(i int) hlo.Value { return g.Reshape(g.Slice(all, 1, i, i+1), v.Parts, c) }
	tops := pick(0)
	allTop = g.MaxOver(tops, 0)
	allSum = g.Sum(g.Mul(pick(1), g.Exp(g.Sub(tops, g.Like(allTop, tops, 1)))), 0)
	return allTop, allSum, g.Sum(pick(2), 0)
}

// overChunks runs body over chunks of rows of h and labels; outs are collected by rows, sums are added up.
func (a lossArgs) overChunks(hND hlo.Value, outs, sums []hlo.Value, body func(g *hlo.Graph, h, labels hlo.Value) (outs, sums []hlo.Value)) ([]hlo.Value, []hlo.Value) {
	n := hND.Dim(0)
	c := lossChunk(n, a.head.Dim(0), a.cfg.Target)
	if c == n {
		return body(a.Graph, hND, a.labels)
	}
	if a.vocab.split() {
		a.Order()
	}
	state := a.Loop(n/c, append(append([]hlo.Value(nil), outs...), sums...), func(g *hlo.Graph, i hlo.Value, st []hlo.Value) []hlo.Value {
		at := g.Mul(i, g.Const(dtypes.Int32, float64(c)))
		o, s := body(g, g.DynamicSlice(hND, 0, at, c), g.DynamicSlice(a.labels, 0, at, c))
		var next []hlo.Value
		for j := range o {
			next = append(next, g.DynamicUpdate(st[j], o[j], 0, at))
		}
		for j := range s {
			next = append(next, g.Add(st[len(o)+j], s[j]))
		}
		return next
	})
	return state[:len(outs)], state[len(outs):]
}

// buildLoss is the program: norm, head, x (donated), rows, labels -> dx, sum of losses, and, where they are
// trained, the gradients of norm and head. Everything is a sum over rows; the step divides once.
func (r root) buildLoss(cfg Config, s Shape) (device.Source, error) {
	return hlo.Build("loss", func(g *hlo.Graph) []hlo.Value {
		a := openLoss(g, cfg, r, s, 0)
		h := a.norm(a.xND, 0)
		sums := []hlo.Value{g.Const(dtypes.Float32, 0)}
		if r.trains(r.head) {
			sums = append(sums, g.Full(dtypes.Float32, 0, a.head.Dims()...))
		}
		outs := []hlo.Value{g.Full(dtypes.Float32, 0, h.Dims()...)}
		outs, sums = a.overChunks(h, outs, sums, func(g *hlo.Graph, h, labels hlo.Value) ([]hlo.Value, []hlo.Value) {
			dl, logp := a.slope(g, h, labels)
			s := []hlo.Value{g.Neg(g.Sum(logp, 0))}
			if r.trains(r.head) {
				s = append(s, g.TN(dl, h))
			}
			return []hlo.Value{g.NN(dl, a.head)}, s
		})
		dh := outs[0]
		if a.vocab.split() {
			dh = g.AllReduce(a.vocab.comm(), "loss, backward", a.c(dh))
		}
		dxND := a.c(a.normBackward(a.xND, 0, dh))
		rows := a.rows
		if here := a.x.Dim(0); cfg.Split.Sequence { // rows out of range add nothing
			rows = g.Sub(rows, g.Const(dtypes.Int32, float64(a.vocab.Index*here)))
		}
		// Rows that only fill up get places of their own, beyond the last, where nothing is added.
		beyond := g.Add(g.Iota(dtypes.Int32, 0, s.Loss), g.Const(dtypes.Int32, float64(cfg.tokens(s))))
		rows = g.Select(g.Compare(a.labels, "==", g.Const(dtypes.Int32, ignored)), beyond, rows)
		dx := g.AddUniqueRows(g.Full(cfg.Compute, 0, a.x.Dims()...), g.Reshape(rows, s.Loss, 1), dxND)
		result := []hlo.Value{dx, sums[0]}
		if cfg.Full {
			result = append(result, a.grads[0])
		}
		return append(result, sums[1:]...)
	})
}

// buildScore is the program: norm, head, x, rows, labels -> log-probability of each row's label [N] float32, 0 where
// ignored.
func (r root) buildScore(cfg Config, s Shape) (device.Source, error) {
	return hlo.Build("score", func(g *hlo.Graph) []hlo.Value {
		a := openLoss(g, cfg, r, s, -1)
		outs, _ := a.overChunks(a.norm(a.xND, 0), []hlo.Value{g.Full(dtypes.Float32, 0, s.Loss)}, nil, func(g *hlo.Graph, h, labels hlo.Value) ([]hlo.Value, []hlo.Value) {
			return []hlo.Value{a.score(g, h, labels).logp}, nil
		})
		return outs
	})
}
