package hlo_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// TestFewKernel holds the product of a few rows to plain operations, with all that it can have besides.
func TestFewKernel(t *testing.T) {
	for _, c := range []kernels.Few{
		{Rows: 1, In: 4096, Out: 40},
		{Rows: 1, In: 264, Out: 33, Norm: true, Eps: 1e-5, Wide: true},
		{Rows: 3, In: 1024, Out: 17, Add: true},
		{Rows: 2, In: 520, Out: 24, Norm: true, Eps: 1e-6, Gated: true},
		{Rows: 8, In: 64, Out: 48, Bias: true, Norm: true, Eps: 1e-5, Dim: 16, Pieces: []int{16, 16, 16}},
		{Rows: 1, In: 128, Out: 32, Gated: true, Dim: 32, Pieces: []int{32, 32}},
		{Rows: 1, In: 8, Out: 2048 * 16 * 2 / 16},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			if !c.Fits() {
				t.Fatal("the kernel does not fit")
			}
			rows := c.Out
			if c.Gated {
				rows *= 2
			}
			pieces := max(1, len(c.Pieces))
			f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
			shapes := []device.Shape{bf(c.Rows, c.In), bf(c.In), bf(rows, c.In), f32(c.Rows, pieces*max(1, c.Dim)), bf(rows, max(1, c.Dim)), bf(rows), bf(c.Rows, c.Out)}
			twins(t, "few", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				x, w := in[0], g.Scale(in[2], 1/math.Sqrt(float64(c.In)))
				h := x
				var o hlo.FewOperands
				if c.Norm {
					o.Norm = in[1]
					f := g.F32(x)
					mean := g.Scale(g.Sum(g.Mul(f, f), 1), 1/float64(c.In))
					n := g.To(g.Mul(f, g.Like(g.Rsqrt(g.Add(mean, g.Const(dtypes.Float32, c.Eps))), f, 0)), x.DType())
					h = g.Mul(n, g.Like(in[1], n, 1))
				}
				y := g.NT(h, w)
				if c.Dim > 0 {
					o.T, o.B = in[3], in[4]
					var deltas []hlo.Value
					at := 0
					for i, n := range c.Pieces {
						deltas = append(deltas, g.NT(g.Slice(in[3], 1, i*c.Dim, (i+1)*c.Dim), g.F32(g.Slice(in[4], 0, at, at+n))))
						at += n
					}
					y = g.Add(y, g.Concat(1, deltas...))
				}
				if c.Bias {
					o.Bias = in[5]
					y = g.Add(y, g.Like(g.F32(in[5]), y, 1))
				}
				if c.Gated {
					half := func(i int) hlo.Value { return g.F32(g.To(g.Slice(y, 1, i*c.Out, (i+1)*c.Out), x.DType())) }
					y = g.Mul(g.Mul(half(0), g.Logistic(half(0))), half(1))
				}
				if c.Add {
					o.Add = in[6]
					y = g.Add(g.F32(g.To(y, x.DType())), g.F32(in[6]))
				}
				return []hlo.Value{g.Few(c, x, w, o)}, []hlo.Value{y}
			})
		})
	}
	for _, c := range []kernels.Few{{Rows: 9, In: 64, Out: 8}, {Rows: 1, In: 60, Out: 8}, {Rows: 4, In: 14336, Out: 8}, {Rows: 1, In: 64, Out: 8, Dim: 48}} {
		if c.Fits() {
			t.Errorf("there is a kernel for %+v", c)
		}
	}
}

// TestCachedKernels holds the attention over a cache to plain operations: at the first place and the last, with runs of
// keys that are empty, windows, heads of all widths, and without anything turned.
func TestCachedKernels(t *testing.T) {
	for _, c := range []kernels.Cached{
		{Rows: 1, Heads: 4, KV: 2, Width: 64, Turned: 64, Capacity: 192, Scale: 0.125},
		{Rows: 3, Heads: 8, KV: 1, Width: 32, Turned: 16, Capacity: 64, Scale: 0.2},
		{Rows: 2, Heads: 2, KV: 2, Width: 128, Turned: 128, Capacity: 128, Window: 20, Scale: 0.1},
		{Rows: 2, Heads: 7, KV: 1, Width: 8, Capacity: 320, Scale: 0.3},
		{Rows: 1, Heads: 2, KV: 1, Width: 256, Turned: 64, Capacity: 64, Scale: 0.06},
	} {
		for _, first := range []int{0, c.Capacity / 2, c.Capacity - c.Rows} {
			t.Run(fmt.Sprint(c, first), func(t *testing.T) {
				if !c.Fits() {
					t.Fatal("the kernel does not fit")
				}
				half := c.Turned / 2
				f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
				shapes := []device.Shape{bf(c.Rows, (c.Heads+2*c.KV)*c.Width), f32(c.Rows, half), f32(c.Rows, half), bf(c.Rows, c.KV, c.Capacity, c.Width), bf(c.Rows, c.KV, c.Capacity, c.Width)}
				twins(t, "cached", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
					places := g.Add(g.Iota(dtypes.Int32, 0, c.Rows), g.Const(dtypes.Int32, float64(first)))
					o, k, v := g.CachedAttention(c, in[0], in[1], in[2], places, in[3], in[4])
					return []hlo.Value{o, k, v}, plainCached(g, c, in, places)
				})
			})
		}
	}
	for _, c := range []kernels.Cached{{Rows: 1, Heads: 2, KV: 1, Width: 96, Capacity: 64}, {Rows: 1, Heads: 9, KV: 1, Width: 64, Capacity: 64}, {Rows: 1, Heads: 1, KV: 1, Width: 64, Turned: 8, Capacity: 64}} {
		if c.Fits() {
			t.Errorf("there is a kernel for %+v", c)
		}
	}
}

// plainCached is CachedAttention in plain operations.
func plainCached(g *hlo.Graph, c kernels.Cached, in []hlo.Value, places hlo.Value) []hlo.Value {
	r, k, e, half := c.Rows, c.KV, c.Width, c.Turned/2
	group := c.Heads / k
	dtype := in[0].DType()
	heads := func(from, n int, turn bool) hlo.Value { // [R,n,E]
		x := g.F32(g.Reshape(g.Slice(in[0], 1, from*e, (from+n)*e), r, n, e))
		if !turn || half == 0 {
			return g.To(x, dtype)
		}
		x1, x2 := g.Slice(x, 2, 0, half), g.Slice(x, 2, half, 2*half)
		cos, sin := g.Broadcast(in[1], x1.Dims(), 0, 2), g.Broadcast(in[2], x1.Dims(), 0, 2)
		parts := []hlo.Value{g.Sub(g.Mul(x1, cos), g.Mul(x2, sin)), g.Add(g.Mul(x2, cos), g.Mul(x1, sin))}
		if 2*half < e {
			parts = append(parts, g.Slice(x, 2, 2*half, e))
		}
		return g.To(g.Concat(2, parts...), dtype)
	}
	cache := []int{r, k, c.Capacity, e}
	here := g.Compare(g.Iota(dtypes.Int32, 2, cache...), "==", g.Broadcast(places, cache, 0))
	keys := g.Select(here, g.Broadcast(heads(c.Heads, k, true), cache, 0, 1, 3), in[3])
	values := g.Select(here, g.Broadcast(heads(c.Heads+k, k, false), cache, 0, 1, 3), in[4])
	flat := func(x hlo.Value) hlo.Value { return g.Reshape(x, r*k, c.Capacity, e) }
	scores := g.Reshape(g.Scale(g.Dot(g.Reshape(heads(0, c.Heads, true), r*k, group, e), 2, flat(keys), 2, 1), c.Scale), r, k, group, c.Capacity)
	back := g.Sub(g.Broadcast(places, scores.Dims(), 0), g.Iota(dtypes.Int32, 3, scores.Dims()...))
	seen := g.Compare(back, ">=", g.Const(dtypes.Int32, 0))
	if c.Window > 0 {
		seen = g.And(seen, g.Compare(back, "<", g.Const(dtypes.Int32, float64(c.Window))))
	}
	scores = g.Select(seen, scores, g.Const(dtypes.Float32, -1e30))
	p := g.Exp(g.Sub(scores, g.Like(g.MaxOver(scores, 3), scores, 0, 1, 2)))
	p = g.Div(p, g.Like(g.Sum(p, 3), p, 0, 1, 2))
	o := g.Dot(g.Reshape(p, r*k, group, c.Capacity), 2, g.F32(flat(values)), 1, 1)
	return []hlo.Value{g.Reshape(o, r, c.Heads*e), keys, values}
}
