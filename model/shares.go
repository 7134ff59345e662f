package model

import (
	"slices"

	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// Where a kernel puts a block's adapters together, another takes their gradients apart: out of the stacked products, and
// out of the parts that the gated MLP's kernel leaves to be added up.

// share is rows of a parameter's gradient in a larger result.
type share struct {
	kernels.Share
	from   hlo.Value // float32
	weight hlo.Value // of the norm whose input stood for its result; invalid = none
	turned bool      // columns of the source are the gradient's rows
}

// sharing tells whether gradients of adapters are recorded as shares.
func (e *emit) sharing() bool { return e.stacks.a != nil }

// share records rows of the gradient of parameter i.
func (e *emit) share(i int, s share) {
	if e.shares == nil {
		e.shares = map[int][]share{}
	}
	e.shares[i] = append(e.shares[i], s)
}

// unstack turns shares into gradients.
func (e *emit) unstack(group Group) {
	var outs []kernels.Out
	var sources, weights []hlo.Value
	var params []int
	for _, i := range group.trainable() {
		list := e.shares[i]
		if list == nil {
			continue
		}
		dims := group.Params[i].Shape.Dims
		out := kernels.Out{Rows: dims[0], Cols: dims[1], Turned: list[0].turned}
		for _, s := range list {
			s.Weight = -1
			if s.weight.Valid() {
				if s.Weight = slices.Index(weights, s.weight); s.Weight < 0 {
					s.Weight, weights = len(weights), append(weights, s.weight)
				}
			}
			out.Shares, sources = append(out.Shares, s.Share), append(sources, s.from)
		}
		outs, params = append(outs, out), append(params, i)
	}
	if outs == nil {
		return
	}
	for n, g := range e.Unstack(outs, sources, weights) {
		e.grad(params[n], g)
	}
}
