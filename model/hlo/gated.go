package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// GatedOut is what Gated gives.
type GatedOut struct {
	Product Value  // silu(gate) * up [T,F]; with Float8 E4M3
	Narrow  Float8 // with Float8: Product and its rows' units
	Low     Value  // Product a^T [T,Down] float32; invalid without Down
	Most    Value  // the greatest magnitude of gate and up [] float32; invalid without Float8
}

// Gated is the gated MLP between its products, by a kernel: gu [T,2F] has gate's columns, then up's, to which t b^T is
// added; t [T,2*Dim] and b [2F,Dim] are asked for only with Dim, a [Down,F] only with Down.
func (g *Graph) Gated(k kernels.Gated, gu, t, b, a Value) GatedOut {
	operands, results := []Value{gu}, []device.Shape{bfloat(k.Rows, k.Width)}
	if k.Dim > 0 {
		operands = append(operands, t, b)
	}
	if k.Float8 {
		results[0].DType = E4M3
		results = append(results, device.MakeShape(dtypes.Float32, k.Rows, k.Blocks()))
	}
	if k.Down > 0 {
		operands = append(operands, a)
		results = append(results, bfloat(k.Blocks(), k.Rows, k.Down))
	}
	if k.Float8 {
		results = append(results, device.MakeShape(dtypes.Float32, k.Strips()))
	}
	out := g.Kernel(k.Forward(), operands, results...)
	r := GatedOut{Product: out[0]}
	if k.Float8 {
		r.Narrow = g.oneUnit(kernels.OneUnit{Rows: k.Rows, Width: k.Width, Units: k.Blocks()}, out[0], out[1])
		r.Product, r.Most = r.Narrow.Value, g.MaxOver(out[len(out)-1], 0)
		out = out[1:]
	}
	if k.Down > 0 {
		r.Low = g.Sum(g.F32(out[1]), 0)
	}
	return r
}

// GatedGrads is what GatedBackward gives.
type GatedGrads struct {
	GateUp  Value // of gu [T,2F], with Float8 E5M2
	A       Value // of a, in parts to be added up [Groups,Down,F] float32; invalid without Down
	B       Value // of b, in parts, turned: gate's inner places, then up's [Groups,2*Dim,F] float32; invalid without Dim
	Low     Value // of t [T,2*Dim] float32; invalid without Dim
	Product Value // silu(gate) * up again, if asked for
}

// GatedBackward is the gradient of Gated: dm [T,F] is that of its product, to which s a is added, s [T,Down] being that of
// its low-rank product. rows and unit are asked for only with Float8: the units in which the rows of dm are [T] float32, and
// that of gu's gradient [] float32.
func (g *Graph) GatedBackward(k kernels.Gated, product bool, gu, t, b, dm, rows, s, a, unit Value) GatedGrads {
	operands, results := []Value{gu}, []device.Shape{bfloat(k.Rows, 2*k.Width)}
	if k.Float8 {
		results[0].DType = E5M2
	}
	if k.Dim > 0 {
		operands = append(operands, t, b)
	}
	operands = append(operands, dm)
	if k.Float8 {
		operands = append(operands, rows)
	}
	if k.Down > 0 {
		operands = append(operands, s, a)
	}
	if k.Float8 {
		operands = append(operands, g.inverse(unit))
	}
	if k.Down > 0 {
		results = append(results, device.MakeShape(dtypes.Float32, k.Groups(), k.Down, k.Width))
	}
	if k.Dim > 0 {
		results = append(results, device.MakeShape(dtypes.Float32, k.Groups(), 2*k.Dim, k.Width), bfloat(k.Blocks(), k.Rows, 2*k.Dim))
	}
	if product {
		results = append(results, bfloat(k.Rows, k.Width))
	}
	out := g.Kernel(k.Backward(product), operands, results...)
	r := GatedGrads{GateUp: out[0]}
	out = out[1:]
	if k.Down > 0 {
		r.A, out = out[0], out[1:]
	}
	if k.Dim > 0 {
		r.B = out[0]
		r.Low, out = g.Sum(g.F32(out[1]), 0), out[2:]
	}
	if product {
		r.Product = out[0]
	}
	return r
}

func bfloat(dims ...int) device.Shape { return device.MakeShape(dtypes.BFloat16, dims...) }
