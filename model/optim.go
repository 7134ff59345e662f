package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// Optimizer is the rule that turns gradients into new parameters.
type Optimizer struct {
	Decoupled   bool // AdamW: weight decay acts on the parameter; else (Adam) it is added to the gradient
	Beta1       float64
	Beta2       float64
	Eps         float64
	WeightDecay float64
}

// The numbers that change from step to step, uploaded as one float32 array.
const (
	hyperLR    = iota // learning rate
	hyperBias1        // 1 - beta1^step
	hyperBias2        // 1 - beta2^step
	hyperCount
)

// buildUpdate is the program, for a list of trained parameters: p..., m..., v... (all donated), g... (sums), hyper,
// scale -> p..., m..., v..., as torch.optim.Adam and AdamW compute them from the gradient scale*g.
func buildUpdate(o Optimizer, params []Param) (device.Source, error) {
	return hlo.Build("update", func(g *hlo.Graph) []hlo.Value {
		n := len(params)
		in := make([][]hlo.Value, 4)
		for kind := range in {
			for i, p := range params {
				if kind < 3 {
					in[kind] = append(in[kind], g.Donated(p.Shape, kind*n+i))
				} else {
					in[kind] = append(in[kind], g.Input(p.Shape))
				}
			}
		}
		hyper := g.Input(device.MakeShape(dtypes.Float32, hyperCount))
		scale := g.Input(device.MakeShape(dtypes.Float32))
		h := func(i int) hlo.Value { return g.Reshape(g.Slice(hyper, 0, i, i+1)) }
		f := func(v float64) hlo.Value { return g.Const(dtypes.Float32, v) }
		out := make([]hlo.Value, 3*n)
		for i := range params {
			p, m, v, d := in[0][i], in[1][i], in[2][i], g.Mul(in[3][i], scale)
			if o.Decoupled {
				p = g.Mul(p, g.Sub(f(1), g.Mul(h(hyperLR), f(o.WeightDecay))))
			} else if o.WeightDecay != 0 {
				d = g.Add(d, g.Scale(p, o.WeightDecay))
			}
			m = g.Add(g.Scale(m, o.Beta1), g.Scale(d, 1-o.Beta1))
			v = g.Add(g.Scale(v, o.Beta2), g.Scale(g.Mul(d, d), 1-o.Beta2))
			root := g.Add(g.Div(g.Sqrt(v), g.Sqrt(h(hyperBias2))), f(o.Eps))
			p = g.Sub(p, g.Mul(g.Div(h(hyperLR), h(hyperBias1)), g.Div(m, root)))
			out[i], out[n+i], out[2*n+i] = p, m, v
		}
		return out
	})
}

// buildSquares is the program: gradients... -> sum of their squares.
func buildSquares(params []Param) (device.Source, error) {
	return hlo.Build("squares", func(g *hlo.Graph) []hlo.Value {
		total := g.Const(dtypes.Float32, 0)
		for _, p := range params {
			x := g.Input(p.Shape)
			// Axis by axis: shorter chains of float32 additions.
			x = g.Mul(x, x)
			for axis := len(p.Shape.Dims) - 1; axis >= 0; axis-- {
				x = g.Sum(x, axis)
			}
			total = g.Add(total, x)
		}
		return []hlo.Value{total}
	})
}

// buildClip is the program: sums of squares..., 1/(valid tokens), greatest norm (0 = no clipping) -> the factor that
// turns sums of gradients into what the optimizer uses, and the norm of the mean gradient, as torch's clip_grad_norm_.
func buildClip(n int) (device.Source, error) {
	return hlo.Build("clip", func(g *hlo.Graph) []hlo.Value {
		scalar := device.MakeShape(dtypes.Float32)
		total := g.Const(dtypes.Float32, 0)
		for range n {
			total = g.Add(total, g.Input(scalar))
		}
		mean, most := g.Input(scalar), g.Input(scalar)
		norm := g.Mul(g.Sqrt(total), mean)
		one := g.Const(dtypes.Float32, 1)
		clip := g.Min(one, g.Div(most, g.Add(norm, g.Const(dtypes.Float32, 1e-6))))
		clip = g.Select(g.Compare(most, ">", g.Const(dtypes.Float32, 0)), clip, one)
		return []hlo.Value{g.Mul(mean, clip), norm}
	})
}

// buildAdd is the program: a... (donated), b... -> a+b...
func buildAdd(params []Param) (device.Source, error) {
	return hlo.Build("add", func(g *hlo.Graph) []hlo.Value {
		var as, out []hlo.Value
		for i, p := range params {
			as = append(as, g.Donated(p.Shape, i))
		}
		for i, p := range params {
			out = append(out, g.Add(as[i], g.Input(p.Shape)))
		}
		return out
	})
}

// shapeKey names a list of parameters by shape: lists that look alike share programs.
func shapeKey(params []Param) string {
	s := ""
	for _, p := range params {
		s += fmt.Sprint(" ", p.Shape)
	}
	return s
}
