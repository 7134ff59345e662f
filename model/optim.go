package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
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

// buildUpdate is the program, for trained parameters of the given shapes: p..., m..., v... (all donated), g... (sums), hyper,
// scale -> p..., m..., v..., as torch.optim.Adam and AdamW compute them from the gradient scale*g. Each parameter has a
// learning rate of its own, as a multiple of hyper's. With own it is one launch of gorun's own kernel.
func buildUpdate(o Optimizer, shapes []device.Shape, rates []float64, own bool) (device.Source, error) {
	return hlo.Build("update", func(g *hlo.Graph) []hlo.Value {
		n := len(shapes)
		in := make([][]hlo.Value, 4)
		for kind := range in {
			for i, s := range shapes {
				if kind < 3 {
					in[kind] = append(in[kind], g.Donated(s, kind*n+i))
				} else {
					in[kind] = append(in[kind], g.Input(s))
				}
			}
		}
		hyper := g.Input(device.MakeShape(dtypes.Float32, hyperCount))
		scale := g.Input(device.MakeShape(dtypes.Float32))
		if k, ok := tensorsKernel(shapes, own); ok {
			return g.Adam(k, o.kernel(rates), in[0], in[1], in[2], in[3], hyper, scale)
		}
		h := func(i int) hlo.Value { return g.Reshape(g.Slice(hyper, 0, i, i+1)) }
		f := func(v float64) hlo.Value { return g.Const(dtypes.Float32, v) }
		out := make([]hlo.Value, 3*n)
		for i := range shapes {
			p, m, v, d := in[0][i], in[1][i], in[2][i], g.Mul(in[3][i], scale)
			lr := func() hlo.Value { return g.Scale(h(hyperLR), rates[i]) }
			if o.Decoupled {
				p = g.Mul(p, g.Sub(f(1), g.Mul(lr(), f(o.WeightDecay))))
			} else if o.WeightDecay != 0 {
				d = g.Add(d, g.Scale(p, o.WeightDecay))
			}
			m = g.Add(g.Scale(m, o.Beta1), g.Scale(d, 1-o.Beta1))
			v = g.Add(g.Scale(v, o.Beta2), g.Scale(g.Mul(d, d), 1-o.Beta2))
			root := g.Add(g.Div(g.Sqrt(v), g.Sqrt(h(hyperBias2))), f(o.Eps))
			p = g.Sub(p, g.Mul(g.Div(lr(), h(hyperBias1)), g.Div(m, root)))
			out[i], out[n+i], out[2*n+i] = p, m, v
		}
		return out
	})
}

// kernel is the rule as the kernel takes it.
func (o Optimizer) kernel(rates []float64) kernels.Adam {
	return kernels.Adam{Decoupled: o.Decoupled, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Decay: o.WeightDecay, Rates: rates}
}

// tensorsKernel is the kernel for a list of tensors, and whether there is one; own says whether it may be.
func tensorsKernel(shapes []device.Shape, own bool) (kernels.Tensors, bool) {
	var k kernels.Tensors
	for _, s := range shapes {
		k.Sizes = append(k.Sizes, s.Size())
	}
	return k, own && k.Fits()
}

// buildSquares is the program: gradients... -> sum of their squares; with own, by gorun's own kernel.
func buildSquares(shapes []device.Shape, own bool) (device.Source, error) {
	return hlo.Build("squares", func(g *hlo.Graph) []hlo.Value {
		if k, ok := tensorsKernel(shapes, own); ok {
			in := make([]hlo.Value, len(shapes))
			for i, s := range shapes {
				in[i] = g.Input(s)
			}
			return []hlo.Value{g.Squares(k, in)}
		}
		total := g.Const(dtypes.Float32, 0)
		for _, s := range shapes {
			x := g.Input(s)
			// Axis by axis: shorter chains of float32 additions.
			x = g.Mul(x, x)
			for axis := len(s.Dims) - 1; axis >= 0; axis-- {
				x = g.Sum(x, axis)
			}
			total = g.Add(total, x)
		}
		return []hlo.Value{total}
	})
}

// buildClip is the program: sum of squares, valid tokens, greatest norm (0 = no clipping) -> the factor that turns sums of
// gradients into what the optimizer uses, and the norm of the mean gradient, as torch's clip_grad_norm_.
func buildClip() (device.Source, error) {
	return hlo.Build("clip", func(g *hlo.Graph) []hlo.Value {
		scalar := device.MakeShape(dtypes.Float32)
		total, tokens, most := g.Input(scalar), g.Input(scalar), g.Input(scalar)
		one := g.Const(dtypes.Float32, 1)
		mean := g.Div(one, g.Max(tokens, one))
		norm := g.Mul(g.Sqrt(total), mean)
		clip := g.Min(one, g.Div(most, g.Add(norm, g.Const(dtypes.Float32, 1e-6))))
		clip = g.Select(g.Compare(most, ">", g.Const(dtypes.Float32, 0)), clip, one)
		return []hlo.Value{g.Mul(mean, clip), norm}
	})
}

// buildSum is the program: float32 scalars... -> their sum.
func buildSum(n int) (device.Source, error) {
	return hlo.Build("sum", func(g *hlo.Graph) []hlo.Value {
		total := g.Const(dtypes.Float32, 0)
		for range n {
			total = g.Add(total, g.Input(device.MakeShape(dtypes.Float32)))
		}
		return []hlo.Value{total}
	})
}

// buildAdd is the program: a... (donated), b... -> a+b...
func buildAdd(shapes []device.Shape) (device.Source, error) {
	return hlo.Build("add", func(g *hlo.Graph) []hlo.Value {
		var as, out []hlo.Value
		for i, s := range shapes {
			as = append(as, g.Donated(s, i))
		}
		for i, s := range shapes {
			out = append(out, g.Add(as[i], g.Input(s)))
		}
		return out
	})
}

// shapeKey names a list of shapes: lists that look alike share programs.
func shapeKey(shapes []device.Shape) string {
	key := ""
	for _, s := range shapes {
		key += " " + s.String()
	}
	return key
}
