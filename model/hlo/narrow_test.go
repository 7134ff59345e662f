package hlo_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// Kernels that write 8-bit floats round what they write without as plain operations round it, to the bit.

// exactTwins is twins without any tolerance.
func exactTwins(t *testing.T, name string, shapes []device.Shape, write func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value)) {
	t.Helper()
	twinsWithin(t, name, 0, 0, shapes, write)
}

// wide is what 8-bit floats count, or, by row, what they do in their units.
func wide(g *hlo.Graph, f hlo.Float8) hlo.Value { return g.Widen(f, dtypes.Float32) }

// most is the greatest magnitude in x over axes.
func most(g *hlo.Graph, x hlo.Value, axes ...int) hlo.Value {
	return g.MaxOver(g.Abs(g.F32(x)), axes...)
}

// byRow rounds x with a unit for each row by plain operations.
func byRow(g *hlo.Graph, x hlo.Value) hlo.Float8 {
	return g.Narrow(x, hlo.E4M3, g.Unit(most(g, x, 1), hlo.E4M3))
}

// uneven multiplies the rows of x by 0, 1, 4, 9... The barrier has it rounded where XLA would keep it in registers wider
// than a kernel gets it.
func uneven(g *hlo.Graph, x hlo.Value) hlo.Value {
	rows := g.Iota(dtypes.Float32, 0, x.Dims()...)
	return g.Barrier(g.To(g.Mul(g.F32(x), g.Mul(rows, rows)), dtypes.BFloat16))
}

// TestNarrowKernel holds the kernel that rounds rows to 8-bit floats to plain operations, a row of zeros among them.
func TestNarrowKernel(t *testing.T) {
	for _, c := range []kernels.Narrow{{Rows: 5, Width: 512}, {Rows: 3, Width: 576}, {Rows: 2, Width: 8}, {Rows: 2, Width: 14336}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			exactTwins(t, "narrow", []device.Shape{bf(c.Rows, c.Width)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				x := uneven(g, in[0])
				k, _ := g.NarrowRows(c, x)
				p := byRow(g, x)
				return []hlo.Value{wide(g, k), k.Unit}, []hlo.Value{wide(g, p), p.Unit}
			})
			twins(t, "length", []device.Shape{bf(c.Rows, c.Width)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				x := uneven(g, in[0])
				_, length := g.NarrowRows(c, x)
				return []hlo.Value{length}, []hlo.Value{g.Sqrt(g.Sum(g.Mul(g.F32(x), g.F32(x)), 1))}
			})
		})
	}
}

// TestNarrowNorm holds what RMSNorm's kernels give besides for 8-bit floats to plain operations on what they give without.
func TestNarrowNorm(t *testing.T) {
	for _, c := range []kernels.Norm{{Rows: 5, Width: 512, Eps: 1e-5, Float8: true}, {Rows: 3, Width: 576, Eps: 1e-6, Float8: true}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			rows := bf(c.Rows, c.Width)
			exactTwins(t, "norm", []device.Shape{rows, rows, rows, rows, bf(c.Width)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				x, y, dh, dy, w := in[0], in[1], in[2], in[3], in[4]
				unit := g.Unit(g.Scale(most(g, w, 0), 16), hlo.E4M3)
				for _, n := range []hlo.NormOut{g.Norm(c, x, hlo.Value{}, w, unit), g.Norm(c, x, y, w, unit)} {
					kernel = append(kernel, wide(g, n.Narrow))
					plain = append(plain, wide(g, g.Narrow(n.H, hlo.E4M3, unit)))
				}
				dx, _, top := g.NormBackward(c, dh, x, uneven(g, dy), w)
				return append(kernel, top), append(plain, most(g, dx, 0, 1))
			})
		})
	}
}

// TestNarrowGated holds the kernels of the gated MLP that write 8-bit floats to plain rounding of what they write without.
func TestNarrowGated(t *testing.T) {
	for _, c := range []kernels.Gated{{Rows: 64, Width: 256, Dim: 16, Down: 16}, {Rows: 37, Width: 96, Dim: 32, Down: 16}, {Rows: 16, Width: 512, Dim: 16}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			rows, width := c.Rows, c.Width
			shapes := []device.Shape{bf(rows, 2*width), bf(rows, width), bf(rows, 2*c.Dim), bf(2*width, c.Dim), bf(rows, max(1, c.Down)), bf(max(1, c.Down), width)}
			exactTwins(t, "gated", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				dm, tt, s := in[1], in[2], g.Scale(in[4], 0.25)
				gu := uneven(g, in[0])
				b, a := g.Barrier(g.Scale(in[3], 0.125)), g.Barrier(g.Scale(in[5], 0.125))
				narrow := c
				narrow.Float8 = true
				f, w := g.Gated(narrow, gu, tt, b, a), g.Gated(c, gu, tt, b, a)
				// Parts of rows are rounded first, then brought to the greatest of the row's units.
				n := narrow.Blocks()
				p := byRow(g, g.Reshape(w.Product, rows*n, width/n))
				own := g.MaxOver(g.Reshape(p.Unit, rows, n), 1)
				p = g.Narrow(g.Reshape(g.Mul(wide(g, p), g.Like(p.Unit, p.Value, 0)), rows, width), hlo.E4M3, own)
				kernel, plain = []hlo.Value{wide(g, f.Narrow), f.Narrow.Unit}, []hlo.Value{wide(g, p), p.Unit}

				// The gradient of the product comes in units of rows, here powers of two in turn.
				two := g.Full(dtypes.Float32, 2, rows)
				units := g.Select(g.Compare(g.And(g.Iota(dtypes.Int32, 0, rows), g.Const(dtypes.Int32, 1)), "==", g.Const(dtypes.Int32, 0)), two, g.Div(g.Full(dtypes.Float32, 1, rows), two))
				scaled := g.Barrier(g.To(g.Mul(g.F32(dm), g.Like(units, dm, 0)), dtypes.BFloat16))
				gradients := g.GatedBackward(c, false, gu, tt, b, scaled, hlo.Value{}, s, a, hlo.Value{}).GateUp
				unit := g.Unit(g.Scale(most(g, gradients, 0, 1), 32), hlo.E5M2)
				d := g.GatedBackward(narrow, false, gu, tt, b, dm, units, s, a, unit)
				return append(kernel, wide(g, hlo.Float8{Value: d.GateUp, Unit: unit})), append(plain, wide(g, g.Narrow(gradients, hlo.E5M2, unit)))
			})
			twins(t, "most", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				narrow, gu, tt, b := c, in[0], in[2], in[3]
				narrow.Float8 = true
				gate := g.Add(g.F32(g.Slice(gu, 1, 0, width)), g.NT(g.Slice(tt, 1, 0, c.Dim), g.Slice(b, 0, 0, width)))
				up := g.Add(g.F32(g.Slice(gu, 1, width, 2*width)), g.NT(g.Slice(tt, 1, c.Dim, 2*c.Dim), g.Slice(b, 0, width, 2*width)))
				return []hlo.Value{g.Gated(narrow, gu, tt, b, in[5]).Most}, []hlo.Value{most(g, g.Concat(1, gate, up), 0, 1)}
			})
		})
	}
}

// TestNarrowTurned holds the gradient of q, k and v's product in 8-bit floats to plain rounding of it.
func TestNarrowTurned(t *testing.T) {
	for _, c := range []kernels.Turned{
		{Rotary: kernels.Rotary{Rows: 20, Heads: 4, KV: 2, Width: 64, Turned: 64}, Dim: 16},
		{Rotary: kernels.Rotary{Rows: 33, Heads: 3, KV: 1, Width: 128, Turned: 128}, Dim: 32},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			nq, nk := c.Heads*c.Width, c.KV*c.Width
			angles := device.MakeShape(dtypes.Float32, c.Rows, c.Width/2)
			shapes := []device.Shape{bf(c.Rows, 3*c.Dim), bf(nq+2*nk, c.Dim), angles, angles, bf(c.Rows, nq), bf(c.Rows, nk), bf(c.Rows, nk)}
			exactTwins(t, "turned", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				tt, b, cos, sin, dq, dk, dv := in[0], in[1], in[2], in[3], uneven(g, in[4]), in[5], in[6]
				d := g.RotaryLowBackward(c, dq, dk, dv, tt, b, cos, sin, hlo.Value{})
				unit := g.Unit(g.Scale(most(g, d.QKV, 0, 1), 4), hlo.E4M3)
				narrow := c
				narrow.Float8 = true
				f := g.RotaryLowBackward(narrow, dq, dk, dv, tt, b, cos, sin, unit)
				return []hlo.Value{wide(g, hlo.Float8{Value: f.QKV, Unit: unit})}, []hlo.Value{wide(g, g.Narrow(d.QKV, hlo.E4M3, unit))}
			})
		})
	}
}

// TestNarrowEntropy holds the gradient by logits in 8-bit floats to plain rounding of it, ignored rows among them.
func TestNarrowEntropy(t *testing.T) {
	for _, c := range []kernels.Entropy{{Rows: 5, Vocab: 4104}, {Rows: 3, Vocab: 24}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			exactTwins(t, "entropy", []device.Shape{bf(c.Rows, c.Vocab)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				labels := g.Sub(g.Mul(g.Iota(dtypes.Int32, 0, c.Rows), g.Const(dtypes.Int32, 7)), g.Const(dtypes.Int32, 7)) // the first is none
				logits := g.To(g.Scale(g.F32(in[0]), 20), dtypes.BFloat16)
				narrow := c
				narrow.Float8 = true
				slope, score := g.Entropy(narrow, g.Barrier(logits), labels)
				want, wantScore := g.Entropy(c, g.Barrier(logits), labels)
				unit := g.Const(dtypes.Float32, hlo.SlopeUnit)
				return []hlo.Value{wide(g, hlo.Float8{Value: slope, Unit: unit}), score}, []hlo.Value{wide(g, g.Narrow(want, hlo.E5M2, unit)), wantScore}
			})
		})
	}
}
