package hlo

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/go-xla/stablehlo"
)

// Loop runs body for i = 0..n-1 (int32), carrying state, and the order of collectives, from one round to the next.
func (g *Graph) Loop(n int, state []Value, body func(g *Graph, i Value, state []Value) []Value) []Value {
	end := func(cond *Graph) Value { return cond.Const(dtypes.Int32, float64(n)) }
	return g.loop(g.Const(dtypes.Int32, 0), end, state, body)
}

// Span is Loop for i = from..to-1, int32 scalars that are known only at run time.
func (g *Graph) Span(from, to Value, state []Value, body func(g *Graph, i Value, state []Value) []Value) []Value {
	return g.loop(from, func(*Graph) Value { return to }, state, body)
}

func (g *Graph) loop(from Value, end func(cond *Graph) Value, state []Value, body func(g *Graph, i Value, state []Value) []Value) []Value {
	init := []*stablehlo.Value{from.v}
	for _, s := range state {
		init = append(init, s.v)
	}
	ordered := g.order.Valid()
	if ordered {
		init = append(init, g.order.v)
	}
	open := func() (*Graph, []Value) {
		inner := &Graph{fn: g.fn.Closure()}
		vars := make([]Value, len(init))
		for i, v := range init {
			vars[i] = must(inner.fn.Input(v.Shape()))
		}
		return inner, vars
	}
	cond, vars := open()
	if err := cond.fn.Return(cond.Compare(vars[0], "<", end(cond)).v); err != nil {
		panic(err)
	}
	loop, vars := open()
	if ordered {
		loop.order = vars[len(vars)-1]
	}
	next := []*stablehlo.Value{loop.Add(vars[0], loop.Const(dtypes.Int32, 1)).v}
	for _, v := range body(loop, vars[0], vars[1:1+len(state)]) {
		next = append(next, v.v)
	}
	if loop.order.Valid() {
		if !ordered {
			panic("a loop with collectives needs Order before it")
		}
		next = append(next, loop.order.v)
	}
	if err := loop.fn.Return(next...); err != nil {
		panic(err)
	}
	g.kernels = append(g.kernels, loop.kernels...)
	outs, err := stablehlo.While(cond.fn, loop.fn, init...)
	if err != nil {
		panic(err)
	}
	result := make([]Value, len(state))
	for i := range result {
		result[i] = Value{outs[i+1]}
	}
	if ordered {
		g.order = Value{outs[len(outs)-1]}
	}
	return result
}
