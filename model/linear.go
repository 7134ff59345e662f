package model

import (
	"gorun/csrc/kernels"
	"gorun/model/hlo"
	"gorun/model/spec"
)

// emit carries what every piece of a block's program needs.
type emit struct {
	*hlo.Graph
	cfg       Config
	part      *spec.Decoder // what this part computes of the decoder's heads and features
	rows      int           // B
	seq       int           // S, of the tokens that are here
	chunks    []chunk       // where in their rows those tokens are
	w         []hlo.Value   // the group's parameters
	cos       hlo.Value     // [B,S,Rot/2] float32
	sin       hlo.Value
	starts    hlo.Value // [B,S] int32: where in its row each token's document begins; invalid unless rows are packed
	reach     int       // keys that a query of packed rows may see, itself included; 0 = all before it
	documents documents // of packed rows, for cuDNN's attention
	dropKey   hlo.Value // [B], or [B,S] in packed rows, uint32 keys of the samples, already mixed with step and layer; invalid = no dropout
	counted   hlo.Value // [T] float32, of tokens that the auxiliary loss is of; invalid without that
	push      hlo.Value // gradient of the auxiliary loss by each expert's probability, of any token [E]; invalid but in backward
	grads     map[int]hlo.Value
	stacks    stacks
	shares    map[int][]share // of gradients, by parameter
	rounding  rounding
}

// c converts to the compute dtype.
func (e *emit) c(x hlo.Value) hlo.Value { return e.To(x, e.cfg.Compute) }

// weight is a parameter in the compute dtype.
func (e *emit) weight(i int) hlo.Value { return e.c(e.w[i]) }

// grad records the gradient of parameter i, as float32 of its shape.
func (e *emit) grad(i int, g hlo.Value) { e.grads[i] = e.F32(g) }

// adapted lists the segments that have an adapter.
func (l linear) adapted() []segment {
	var out []segment
	for _, s := range l.segs {
		if s.a >= 0 {
			out = append(out, s)
		}
	}
	return out
}

// forward is x W^T + bias + scale * drop(x) A^T B^T, or, with DropPost, drop(scale * x A^T B^T), for every segment, in one
// product for the base and one for all A; with DoRA, what stands before the bias is stretched.
// x [T,in] compute dtype. It returns the pieces [T,width] in float32 or the dtype of products, and t = drop(x) A^T
// [T, sum of dims] for backward (invalid without adapters).
//
// Split by rows of W, x is the stream, and the pieces are what this part has of the output. Split by columns, x is what
// this part has of the input and the product is a share of the sum, base and delta alike; it is reduced once, and t is
// this part's share.
func (l linear) forward(e *emit, x hlo.Value) (pieces []hlo.Value, tTR hlo.Value) {
	if !l.columns {
		x = e.whole(l.name, x)
	}
	if segs := l.adapted(); segs != nil {
		tTR = e.c(l.low(e, x, segs))
	}
	return l.applied(e, x, tTR), tTR
}

// joined is forward without bias and without taking the result apart, on a GPU and unsplit; with delta, the adapters'
// share is in it.
func (l linear) joined(e *emit, x hlo.Value, delta bool) (yTN, tTR hlo.Value) {
	segs := l.adapted()
	if segs != nil {
		tTR = e.c(l.low(e, x, segs))
	}
	if segs == nil || !delta {
		return l.times(e, x, hlo.Value{}, hlo.Value{}), tTR
	}
	return l.tuned(e, x, tTR, segs), tTR
}

// tuned is x W^T and the adapters' share, in the dtype of products, on a GPU.
func (l linear) tuned(e *emit, x, tTR hlo.Value, segs []segment) hlo.Value {
	if !e.dropsOutput() {
		return l.times(e, x, tTR, l.stackB(e, segs))
	}
	return e.Add(l.times(e, x, hlo.Value{}, hlo.Value{}), l.dropOutputs(e, e.product(tTR, 1, l.stackB(e, segs), 1)))
}

// applied is forward's pieces, with t.
func (l linear) applied(e *emit, x, tTR hlo.Value) (pieces []hlo.Value) {
	var bias, yTN hlo.Value
	if l.bias >= 0 {
		bias = e.F32(e.w[l.bias])
	}
	deltas := make([]hlo.Value, len(l.segs))
	if segs := l.adapted(); segs != nil && e.cfg.Target == CUDA {
		yTN = l.tuned(e, x, tTR, segs)
	} else {
		yTN = l.times(e, x, hlo.Value{}, hlo.Value{})
		at := 0
		for i, s := range l.segs {
			if s.a < 0 {
				continue
			}
			t := e.Slice(tTR, 1, at, at+s.Dim)
			at += s.Dim
			deltas[i] = e.Scale(e.NT(t, e.weight(s.b)), s.Scale)
			if e.dropsOutput() {
				deltas[i] = e.drop(deltas[i], s.rows, s.wide, s.a)
			}
		}
	}
	g, _ := l.stretch(e)
	from := 0
	for _, width := range l.splits {
		to := from + width
		p := e.Slice(yTN, 1, from, to)
		for i, s := range l.segs {
			if deltas[i].Valid() && s.from < to && from < s.to {
				p = e.Add(p, e.Slice(deltas[i], 1, from-s.from, to-s.from))
			}
		}
		p = e.stretched(p, g, from, to)
		if l.columns {
			p = e.F32(e.reduced(l.name, p))
		}
		if bias.Valid() {
			p = e.F32(p)
			p = e.Add(p, e.Like(e.Slice(bias, 0, from, to), p, 1))
		}
		pieces = append(pieces, p)
		from = to
	}
	return pieces
}

// times is x W^T for x [T,in], in the dtype of products, and, if t [T, sum of dims] is there, t B^T besides.
func (l linear) times(e *emit, x, tTR, b hlo.Value) hlo.Value {
	if e.cfg.Float8 {
		return l.times8(e, x, tTR, b)
	}
	return e.added(e.product(x, 1, e.weight(l.weight), 1), tTR, b)
}

// timesOnto is sum + x W^T + t B^T, for sum [T,out] and t [T, sum of dims] in the compute dtype: cuBLAS reads the summand of a
// product beside its operands, so that nothing is added but by the products.
func (l linear) timesOnto(e *emit, sum, x, tTR hlo.Value) hlo.Value {
	low := e.product(tTR, 1, l.stackB(e, l.adapted()), 1)
	return e.Add(e.product(x, 1, e.weight(l.weight), 1), e.Add(sum, low))
}

// addsUp tells whether the product's result is nothing more than what timesOnto adds.
func (l linear) addsUp(e *emit) bool {
	return e.cfg.Target == CUDA && l.adapted() != nil && l.bias < 0 && !l.hasMagnitude() && !e.cfg.Split.Tensor.split() && !e.cfg.Float8
}

// added is y plus, if t is there, t b^T.
func (e *emit) added(y, tTR, b hlo.Value) hlo.Value {
	if !tTR.Valid() {
		return y
	}
	return e.Add(y, e.product(tTR, 1, b, 1))
}

// timesBackward is dy W for dy [T,out] in the compute dtype, in the dtype of products.
func (l linear) timesBackward(e *emit, dyTN hlo.Value) hlo.Value {
	if e.cfg.Float8 {
		return l.times8Backward(e, dyTN)
	}
	return e.product(dyTN, 1, e.weight(l.weight), 0)
}

// low is x A^T for all adapted segments at once, or, where x is dropped, one by one: each has its own mask. It comes in the
// dtype of products.
func (l linear) low(e *emit, x hlo.Value, segs []segment) hlo.Value {
	if !e.dropsInput() {
		return e.product(x, 1, l.stackA(e, segs), 1)
	}
	ts := make([]hlo.Value, len(segs))
	for i, s := range segs {
		ts[i] = e.product(l.drop(e, x, s), 1, e.weight(s.a), 1)
	}
	return e.Concat(1, ts...)
}

// stackA is A of every segment [sum of dims, in].
func (l linear) stackA(e *emit, segs []segment) hlo.Value {
	if a, ok := e.stacks.a[l.name]; ok {
		return a
	}
	as := make([]hlo.Value, len(segs))
	for i, s := range segs {
		as[i] = e.weight(s.a)
	}
	return e.Concat(0, as...)
}

// backward takes the gradient of the result of a product split by columns, in the compute dtype, records the gradients of
// what is trained and returns that of x [T,in] in the dtype of products. t is what forward returned.
func (l linear) backward(e *emit, x, tTR, dyTN hlo.Value) hlo.Value {
	dx, record := l.backwardInput(e, func() hlo.Value { return x }, tTR, e.whole(l.name+", backward", dyTN))
	record(input{x: x})
	return dx
}

// backwardRows is backward of a product split by rows, from the gradients of its pieces; the gradient of x comes as it
// was reduced, and record takes the input that is here, which x makes if it is wanted earlier.
func (l linear) backwardRows(e *emit, x func() hlo.Value, tTR hlo.Value, dPieces ...hlo.Value) (dx hlo.Value, record func(input)) {
	whole := func() hlo.Value { return e.whole(l.name+", input", x()) }
	dx, here := l.backwardInput(e, whole, tTR, e.Concat(1, dPieces...))
	return e.reduced(l.name+", backward", dx), func(in input) {
		in.x = e.whole(l.name+", input", in.x)
		here(in)
	}
}

// backwardInput is the backward pass of this part's product, in two: first what needs no input (DoRA alone does, and asks x
// for it), then, by record, the gradients that need it.
func (l linear) backwardInput(e *emit, x func() hlo.Value, tTR, dyTN hlo.Value) (dx hlo.Value, record func(input)) {
	if l.hasMagnitude() {
		dyTN = l.backwardStretch(e, x(), tTR, dyTN)
	}
	dx = l.timesBackward(e, dyTN)
	segs := l.adapted()
	var ss []hlo.Value
	if segs != nil {
		ss = l.backwardB(e, segs, tTR, dyTN)
		dx = l.throughA(e, segs, ss, dx)
	}
	return dx, func(in input) {
		if e.cfg.Full {
			e.grad(l.weight, e.TN(dyTN, in.x))
			if l.bias >= 0 {
				e.grad(l.bias, e.Sum(e.F32(dyTN), 0))
			}
		}
		if segs != nil {
			l.gradA(e, segs, ss, in)
		}
	}
}

// throughA adds to dx what comes through A, ss being what backwardB returned.
func (l linear) throughA(e *emit, segs []segment, ss []hlo.Value, dx hlo.Value) hlo.Value {
	if !e.dropsInput() {
		return e.Add(dx, e.product(e.Concat(1, ss...), 1, l.stackA(e, segs), 0))
	}
	for i, s := range segs {
		dx = e.Add(dx, l.drop(e, e.product(ss[i], 1, e.weight(s.a), 0), s))
	}
	return dx
}

// gradA records the gradient of every A.
func (l linear) gradA(e *emit, segs []segment, ss []hlo.Value, in input) {
	if e.dropsInput() {
		for i, s := range segs {
			e.grad(s.a, e.crossed(ss[i], l.drop(e, in.x, s)))
		}
		return
	}
	dA := in.crossed(e, e.Concat(1, ss...))
	if in.weight.Valid() && !e.sharing() {
		dA = e.Mul(dA, e.Like(e.F32(in.weight), dA, 1))
	}
	at := 0
	for _, s := range segs {
		if e.sharing() {
			e.share(s.a, share{Share: kernels.Share{Rows: s.Dim, Parts: 1, Height: dA.Dim(0), Wide: l.in, FromRow: at, Factor: 1}, from: dA, weight: in.weight})
		} else {
			e.grad(s.a, e.Slice(dA, 0, at, at+s.Dim))
		}
		at += s.Dim
	}
}

// backwardB records the gradient of every B and returns scale * dy B [T,Dim] of every segment, in the compute dtype.
func (l linear) backwardB(e *emit, segs []segment, tTR, dyTN hlo.Value) []hlo.Value {
	if e.dropsOutput() {
		dyTN = l.dropOutputs(e, dyTN)
	}
	if e.cfg.Target == CUDA {
		return l.backwardStackedB(e, segs, tTR, dyTN)
	}
	ss := make([]hlo.Value, len(segs))
	at := 0
	for i, s := range segs {
		dy := e.Slice(dyTN, 1, s.from, s.to)
		t := e.Slice(tTR, 1, at, at+s.Dim)
		at += s.Dim
		// B^T's gradient is the product that is fast on CPU; the barrier keeps XLA from turning it round.
		e.grad(s.b, e.Transpose(e.Barrier(e.Scale(e.crossed(t, dy), s.Scale)), 1, 0))
		ss[i] = e.c(e.Scale(e.NN(dy, e.weight(s.b)), s.Scale))
	}
	return ss
}
