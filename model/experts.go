package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// forward is the sum of what each token's experts give, times their weights, of h [T,D] in the compute dtype: [T,D] in
// the compute dtype. With keep it also returns gate and up of every slot [slots,2F], else nothing; and where the auxiliary
// loss is on, the router's loads.
//
// The weight is multiplied into what down is given, so that what comes out of slots is only added up.
func (m mixture) forward(e *emit, h hlo.Value, keep bool) (y, gateUp, loads hlo.Value) {
	r := m.route(e, h)
	if e.counted.Valid() {
		loads = r.loads(e)
	}
	d := m.dispatch(e, r)
	xs := e.Rows(h, d.token)
	state := []hlo.Value{e.Full(e.cfg.Compute, 0, d.slots, m.hidden)}
	if keep {
		state = append(state, e.Full(e.cfg.Compute, 0, d.slots, 2*m.width))
	}
	state, _ = d.each(e, m, state, nil, func(e *emit, x expert, at hlo.Value, st, _ []hlo.Value) (state, sums []hlo.Value) {
		rows := func(v hlo.Value) hlo.Value { return e.DynamicSlice(v, 0, at, d.rows) }
		gu := m.gatedInput(e, x, rows(xs))
		weighted := e.weighted(e.gated(m.split(e, gu)), rows(d.weight))
		st[0] = e.DynamicUpdate(st[0], e.c(x.low[2].add(e, e.product(weighted, 1, x.down, 1), weighted)), 0, at)
		if keep {
			st[1] = e.DynamicUpdate(st[1], gu, 0, at)
		}
		return st, nil
	})
	if keep {
		gateUp = state[1]
	}
	return e.c(d.back(e, state[0])), gateUp, loads
}

// gatedInput is gate and up of an expert for rows x [n,D], side by side [n,2F], in the compute dtype.
func (m mixture) gatedInput(e *emit, x expert, rows hlo.Value) hlo.Value {
	gate, up := m.split(e, e.product(rows, 1, x.gateUp, 1))
	return e.Concat(1, e.c(x.low[0].add(e, gate, rows)), e.c(x.low[1].add(e, up, rows)))
}

// split takes gate and up [n,2F] apart.
func (m mixture) split(e *emit, gu hlo.Value) (gate, up hlo.Value) {
	return e.Slice(gu, 1, 0, m.width), e.Slice(gu, 1, m.width, 2*m.width)
}

// backward takes what forward took, gate and up if they were kept, and the gradient of its result [T,D] in the compute
// dtype, records the gradients of what is trained and returns that of h [T,D] float32. What was not kept is computed again.
func (m mixture) backward(e *emit, h, gateUp, dy hlo.Value) hlo.Value {
	r := m.route(e, h)
	d := m.dispatch(e, r)
	xs, dys := e.Rows(h, d.token), e.Rows(dy, d.token)
	state := []hlo.Value{e.Full(e.cfg.Compute, 0, d.slots, m.hidden), e.Full(dtypes.Float32, 0, d.slots, 1)}
	grads := m.gradients(e.cfg.Full)
	dims := make([][]int, len(grads))
	for i, g := range grads {
		dims[i] = g.dims
	}
	state, sums := d.each(e, m, state, dims, func(e *emit, x expert, at hlo.Value, st, sums []hlo.Value) ([]hlo.Value, []hlo.Value) {
		rows := func(v hlo.Value) hlo.Value { return e.DynamicSlice(v, 0, at, d.rows) }
		b := expertBlock{m: m, x: x, in: rows(xs), dy: rows(dys), weight: rows(d.weight)}
		if gateUp.Valid() {
			b.gateUp = rows(gateUp)
		} else {
			b.gateUp = m.gatedInput(e, x, b.in)
		}
		dx, dWeight := b.backward(e)
		for i, g := range grads {
			sums[i] = e.Add(sums[i], g.of(e, &b))
		}
		return []hlo.Value{e.DynamicUpdate(st[0], e.c(dx), 0, at), e.DynamicUpdate(st[1], dWeight, 0, at)}, sums
	})
	for i, g := range grads {
		sum := sums[i] // [E,dims...]
		if g.turned {
			sum = e.Transpose(sum, 0, 2, 1)
		}
		e.grad(g.param, e.Reshape(sum, sum.Dim(0)*sum.Dim(1), sum.Dim(2)))
	}
	dWeights := make([]hlo.Value, len(d.slot))
	for i, slot := range d.slot {
		dWeights[i] = e.Reshape(e.Rows(state[1], slot), h.Dim(0))
	}
	return e.Add(d.back(e, state[0]), m.routeBackward(e, r, dWeights))
}

// expertBlock is the backward pass of one block of slots.
type expertBlock struct {
	m      mixture
	x      expert
	in, dy hlo.Value // [n,D]
	weight hlo.Value // [n,1] float32
	gateUp hlo.Value // [n,2F]

	weighted hlo.Value    // what down was given [n,F], compute dtype
	dGateUp  hlo.Value    // [n,2F], compute dtype
	ss       [3]hlo.Value // scale * dy B of each adapter [n,Dim], compute dtype
}

// backward returns the gradients of in [n,D] and of weight [n,1], in float32 or the dtype of products.
func (b *expertBlock) backward(e *emit) (dx, dWeight hlo.Value) {
	gate, up := b.m.split(e, b.gateUp)
	product := e.gated(gate, up)
	b.weighted = e.weighted(product, b.weight)
	dWeighted := e.F32(b.through(e, 2, b.dy, e.product(b.dy, 1, b.x.down, 0)))
	dWeight = e.Reshape(e.Sum(e.Mul(dWeighted, e.F32(product)), 1), b.weight.Dims()...)
	dGate, dUp := e.gatedBackward(gate, up, e.Mul(dWeighted, e.Broadcast(b.weight, dWeighted.Dims(), 0, 1)))
	b.dGateUp = e.Concat(1, dGate, dUp)
	dx = e.product(b.dGateUp, 1, b.x.gateUp, 0)
	return b.through(e, 1, dUp, b.through(e, 0, dGate, dx)), dWeight
}

// through adds to dx what comes through an adapter from the gradient dy of its result.
func (b *expertBlock) through(e *emit, i int, dy, dx hlo.Value) hlo.Value {
	l := b.x.low[i]
	if !l.a.Valid() {
		return dx
	}
	b.ss[i] = e.c(e.Scale(e.NN(dy, l.b), l.scale))
	return e.Add(dx, e.product(b.ss[i], 1, l.a, 0))
}

// expertGradient is a parameter that is trained, and what a block adds to its gradient.
type expertGradient struct {
	param  int
	dims   []int // of one expert's
	turned bool  // the last two axes change places at the end
	of     func(e *emit, b *expertBlock) hlo.Value
}

// gradients lists what is trained.
func (m mixture) gradients(full bool) []expertGradient {
	var out []expertGradient
	if full {
		out = append(out,
			expertGradient{m.gateUp, []int{2 * m.width, m.hidden}, false, func(e *emit, b *expertBlock) hlo.Value { return e.TN(b.dGateUp, b.in) }},
			expertGradient{m.down, []int{m.hidden, m.width}, false, func(e *emit, b *expertBlock) hlo.Value { return e.TN(b.dy, b.weighted) }})
	}
	for i, l := range m.adapters {
		if l.a < 0 {
			continue
		}
		out = append(out,
			expertGradient{l.a, []int{l.Dim, l.in}, false, func(e *emit, b *expertBlock) hlo.Value {
				x, _ := b.ends(e, i)
				return e.crossed(b.ss[i], x)
			}},
			expertGradient{l.b, []int{l.Dim, l.out}, true, func(e *emit, b *expertBlock) hlo.Value {
				x, dy := b.ends(e, i)
				return e.Scale(e.crossed(e.c(e.NT(x, b.x.low[i].a)), dy), l.Scale)
			}})
	}
	return out
}

// ends are what the linear of an adapter was given and the gradient of what it gave.
func (b *expertBlock) ends(e *emit, i int) (x, dy hlo.Value) {
	if i == 2 {
		return b.weighted, b.dy
	}
	return b.in, e.Slice(b.dGateUp, 1, i*b.m.width, (i+1)*b.m.width)
}

// add is y + scale * x A^T B^T.
func (l lowRank) add(e *emit, y, x hlo.Value) hlo.Value {
	if !l.a.Valid() {
		return y
	}
	return e.Add(y, e.To(e.Scale(e.NT(e.c(e.NT(x, l.a)), l.b), l.scale), y.DType()))
}

// weighted multiplies rows of x [n,F] by weight [n,1], in float32, and rounds to the compute dtype.
func (e *emit) weighted(x, weight hlo.Value) hlo.Value {
	return e.c(e.Mul(e.F32(x), e.Broadcast(weight, x.Dims(), 0, 1)))
}

// int is an int32 constant.
func (e *emit) int(n int) hlo.Value { return e.Const(dtypes.Int32, float64(n)) }

// element is the element of a vector at a place that is known at run time.
func (e *emit) element(v, at hlo.Value) hlo.Value { return e.Reshape(e.DynamicSlice(v, 0, at, 1)) }

// in is e for what is written inside a loop: gradients are not to be recorded there.
func (e *emit) in(g *hlo.Graph) *emit {
	inner := *e
	inner.Graph, inner.grads = g, nil
	return &inner
}
