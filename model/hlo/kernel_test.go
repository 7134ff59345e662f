package hlo_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"

	"gorun/csrc/device"
	"gorun/csrc/device/devicetest"
	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

func bf(dims ...int) device.Shape { return device.MakeShape(dtypes.BFloat16, dims...) }

// twins runs a program on random operands of bfloat16 and holds its results to those that follow: the first half of what
// write returns is by kernels, the second by plain operations.
func twins(t *testing.T, name string, shapes []device.Shape, write func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value)) {
	t.Helper()
	// Two roundings of terms that may cancel: to the tensor's size, not to the element's.
	twinsWithin(t, name, devicetest.RTol16, 0.008, shapes, write)
}

// least is a tolerance that is none: no difference of float32 is as small.
const least = 1e-300

// twinsWithin is twins with tolerances: relative to each number, and to the tensor's greatest.
func twinsWithin(t *testing.T, name string, rtol, size float64, shapes []device.Shape, write func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value)) {
	t.Helper()
	dev := devicetest.WithKernels(t)
	n := 0
	src, err := hlo.Build("twins", func(g *hlo.Graph) []hlo.Value {
		var in []hlo.Value
		for _, s := range shapes {
			in = append(in, g.Input(s))
		}
		kernel, plain := write(g, in)
		n = len(kernel)
		out := append(kernel, plain...)
		for i := range out {
			out[i] = g.F32(out[i])
		}
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	if *dump != "" {
		dumpKernels(t, src)
	}
	p, err := dev.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	rng := rand.New(rand.NewPCG(3, 4))
	var args []*device.Buffer
	defer func() { device.FreeAll(args) }()
	for _, s := range shapes {
		args = append(args, random(t, dev, rng, s))
	}
	out, err := p.Execute(args...)
	if err != nil {
		t.Fatal(err)
	}
	defer device.FreeAll(out)
	for i := range n {
		got, err := device.ToSlice[float32](out[i])
		if err != nil {
			t.Fatal(err)
		}
		want, err := device.ToSlice[float32](out[n+i])
		if err != nil {
			t.Fatal(err)
		}
		devicetest.AssertClose(t, fmt.Sprintf("%s, result %d", name, i), got, want, rtol, max(size*devicetest.MaxAbs(want), least))
	}
}

func random(t *testing.T, dev *device.Client, rng *rand.Rand, s device.Shape) *device.Buffer {
	t.Helper()
	v := make([]float32, s.Size())
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	if s.DType != dtypes.BFloat16 {
		b, err := device.FromSlice(dev, s.DType, v, s.Dims...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bits := make([]uint16, len(v))
	for i, f := range v {
		bits[i] = bfloat16.FromFloat32(f).Bits()
	}
	b, err := device.FromSlice(dev, s.DType, bits, s.Dims...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGatedKernels holds the kernels of the gated MLP to plain operations, in their shapes: with and without adapters,
// wide and narrow, rows that fill tiles and rows that do not.
func TestGatedKernels(t *testing.T) {
	for _, c := range []kernels.Gated{
		{Rows: 64, Width: 256, Dim: 16, Down: 16},
		{Rows: 37, Width: 96, Dim: 32, Down: 16},
		{Rows: 16, Width: 64, Dim: 16},
		{Rows: 5, Width: 32, Down: 32},
		{Rows: 50, Width: 128},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			rows, width := c.Rows, c.Width
			shapes := []device.Shape{bf(rows, 2*width), bf(rows, width), bf(rows, 2*max(1, c.Dim)), bf(2*width, max(1, c.Dim)), bf(rows, max(1, c.Down)), bf(max(1, c.Down), width)}
			twins(t, "gated", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				gu, dm, tt, b, s, a := in[0], in[1], in[2], in[3], in[4], in[5]
				b, a, s = g.To(g.Scale(b, 0.125), b.DType()), g.Scale(a, 0.125), g.Scale(s, 0.25)
				k := g.Gated(c, gu, tt, b, a)
				kd := g.GatedBackward(c, true, gu, tt, b, dm, hlo.Value{}, s, a, hlo.Value{})

				f := g.F32(gu)
				gate, up := g.Slice(f, 1, 0, width), g.Slice(f, 1, width, 2*width)
				if c.Dim > 0 {
					gate = g.Add(gate, g.NT(g.Slice(tt, 1, 0, c.Dim), g.Slice(b, 0, 0, width)))
					up = g.Add(up, g.NT(g.Slice(tt, 1, c.Dim, 2*c.Dim), g.Slice(b, 0, width, 2*width)))
				}
				sigma := g.Logistic(gate)
				silu := g.Mul(gate, sigma)
				m := g.To(g.Mul(silu, up), dtypes.BFloat16)
				d := g.F32(dm)
				if c.Down > 0 {
					d = g.Add(d, g.NN(s, a))
				}
				one := g.Const(dtypes.Float32, 1)
				dgate := g.To(g.Mul(g.Mul(d, up), g.Add(sigma, g.Mul(silu, g.Sub(one, sigma)))), dtypes.BFloat16)
				dup := g.To(g.Mul(d, silu), dtypes.BFloat16)
				kernel = []hlo.Value{k.Product, kd.Product, kd.GateUp}
				plain = []hlo.Value{m, m, g.Concat(1, dgate, dup)}
				if c.Down > 0 {
					kernel = append(kernel, k.Low, g.Sum(kd.A, 0))
					plain = append(plain, g.NT(m, a), g.TN(s, m))
				}
				if c.Dim > 0 {
					kernel = append(kernel, g.Sum(kd.B, 0), kd.Low)
					plain = append(plain, g.Concat(0, g.TN(g.Slice(tt, 1, 0, c.Dim), dgate), g.TN(g.Slice(tt, 1, c.Dim, 2*c.Dim), dup)),
						g.Concat(1, g.NN(dgate, g.Slice(b, 0, 0, width)), g.NN(dup, g.Slice(b, 0, width, 2*width))))
				}
				return kernel, plain
			})
		})
	}
}

// TestNormKernels holds RMSNorm's kernels to plain operations: rows that fill a block's threads and rows that do not.
func TestNormKernels(t *testing.T) {
	for _, c := range []kernels.Norm{{Rows: 5, Width: 512, Eps: 1e-5}, {Rows: 3, Width: 576, Eps: 1e-6}, {Rows: 2, Width: 8, Eps: 1e-5}, {Rows: 1, Width: 16384, Eps: 1e-5}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			rows := bf(c.Rows, c.Width)
			twins(t, "norm", []device.Shape{rows, rows, rows, rows, bf(c.Width)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				x, y, dh, dy, w := in[0], in[1], in[2], in[3], in[4]
				of, ofSum := g.Norm(c, x, hlo.Value{}, w, hlo.Value{}), g.Norm(c, x, y, w, hlo.Value{})
				dx, scale, _ := g.NormBackward(c, dh, x, dy, w)
				kernel = []hlo.Value{of.H, ofSum.Sum, ofSum.H, dx, scale}

				norm := func(x hlo.Value) (h, r hlo.Value) {
					f := g.F32(x)
					mean := g.Scale(g.Sum(g.Mul(f, f), 1), 1/float64(c.Width))
					r = g.Rsqrt(g.Add(mean, g.Const(dtypes.Float32, c.Eps)))
					return g.Mul(g.Mul(f, g.Like(r, f, 0)), g.Like(g.F32(w), f, 1)), r
				}
				plainH, r := norm(x)
				added := g.Add(x, y)
				plainHS, _ := norm(added)
				f, rs, gw := g.F32(x), g.Like(r, x, 0), g.Mul(g.F32(dh), g.Like(g.F32(w), x, 1))
				mean := g.Like(g.Scale(g.Sum(g.Mul(gw, f), 1), 1/float64(c.Width)), x, 0)
				plainDX := g.Add(g.F32(dy), g.Mul(rs, g.Sub(gw, g.Mul(f, g.Mul(mean, g.Mul(rs, rs))))))
				return kernel, []hlo.Value{plainH, added, plainHS, plainDX, r}
			})
		})
	}
}

// TestRotaryKernels holds the kernels that take q, k and v apart to plain operations: whole heads turned, a part of each,
// and none.
func TestRotaryKernels(t *testing.T) {
	for _, c := range []kernels.Rotary{{Rows: 5, Heads: 4, KV: 2, Width: 64, Turned: 64}, {Rows: 3, Heads: 3, KV: 1, Width: 40, Turned: 16}, {Rows: 2, Heads: 2, KV: 2, Width: 8}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			n := (c.Heads + 2*c.KV) * c.Width
			half := max(1, c.Turned/2)
			angles := device.MakeShape(dtypes.Float32, c.Rows, half)
			shapes := []device.Shape{bf(c.Rows, n), device.MakeShape(dtypes.Float32, n), angles, angles, bf(c.Rows, c.Heads*c.Width), bf(c.Rows, c.KV*c.Width), bf(c.Rows, c.KV*c.Width)}
			twins(t, "rotary", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				qkv, bias, cos, sin, dq, dk, dv := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
				q, k, v := g.Rotary(c, qkv, hlo.Value{}, cos, sin)
				qb, kb, vb := g.Rotary(c, qkv, bias, cos, sin)
				kernel = []hlo.Value{q, k, v, qb, kb, vb, g.RotaryBackward(c, dq, dk, dv, cos, sin)}

				turn := func(x hlo.Value, heads int, sign float64) hlo.Value {
					h := g.Reshape(g.F32(x), c.Rows, heads, c.Width)
					if c.Turned == 0 {
						return g.Reshape(h, x.Dims()...)
					}
					x1, x2 := g.Slice(h, 2, 0, half), g.Slice(h, 2, half, 2*half)
					cs, sn := g.Like(cos, x1, 0, 2), g.Scale(g.Like(sin, x1, 0, 2), sign)
					parts := []hlo.Value{g.Sub(g.Mul(x1, cs), g.Mul(x2, sn)), g.Add(g.Mul(x2, cs), g.Mul(x1, sn))}
					if c.Turned < c.Width {
						parts = append(parts, g.Slice(h, 2, c.Turned, c.Width))
					}
					return g.Reshape(g.Concat(2, parts...), x.Dims()...)
				}
				nq, nk := c.Heads*c.Width, c.KV*c.Width
				apart := func(x hlo.Value) []hlo.Value {
					return []hlo.Value{turn(g.Slice(x, 1, 0, nq), c.Heads, 1), turn(g.Slice(x, 1, nq, nq+nk), c.KV, 1), g.Slice(x, 1, nq+nk, n)}
				}
				plain = append(apart(qkv), apart(g.Add(g.F32(qkv), g.Like(bias, qkv, 1)))...)
				return kernel, append(plain, g.Concat(1, turn(dq, c.Heads, -1), turn(dk, c.KV, -1), g.F32(dv)))
			})
		})
	}
}

// TestEntropyKernel holds the kernel of the cross-entropy to plain operations, ignored rows and sure ones among them.
func TestEntropyKernel(t *testing.T) {
	for _, c := range []kernels.Entropy{{Rows: 5, Vocab: 4104}, {Rows: 3, Vocab: 24}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			twins(t, "entropy", []device.Shape{bf(c.Rows, c.Vocab)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				row := g.Iota(dtypes.Int32, 0, c.Rows)
				labels := g.Sub(g.Mul(row, g.Const(dtypes.Int32, 7)), g.Const(dtypes.Int32, 7)) // the first is none
				logits := g.To(g.Scale(g.F32(in[0]), 20), dtypes.BFloat16)
				slope, score := g.Entropy(c, logits, labels)

				x, valid := g.F32(logits), g.Compare(labels, ">=", g.Const(dtypes.Int32, 0))
				top := g.MaxOver(x, 1)
				lse := g.Add(top, g.Log(g.Sum(g.Exp(g.Sub(x, g.Like(top, x, 0))), 1)))
				is := g.Compare(g.Iota(dtypes.Int32, 1, x.Dims()...), "==", g.Like(labels, x, 0))
				one, zero := g.Const(dtypes.Float32, 1), g.Const(dtypes.Float32, 0)
				p := g.Sub(g.Exp(g.Sub(x, g.Like(lse, x, 0))), g.Select(is, one, g.Like(zero, x)))
				logp := g.Sub(g.Sum(g.Select(is, x, g.Like(zero, x)), 1), lse)
				return []hlo.Value{slope, score}, []hlo.Value{g.Select(g.Like(valid, x, 0), p, g.Like(zero, x)), g.Select(valid, logp, zero)}
			})
		})
	}
}

// TestTensorKernels holds the kernels over lists of tensors to plain operations: tensors of one block, of several, and of
// a part of one.
func TestTensorKernels(t *testing.T) {
	f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
	list := []device.Shape{f32(16, 300), f32(7), f32(4096), f32(1, 1)}
	k := kernels.Tensors{}
	var shapes []device.Shape
	for _, s := range list {
		k.Sizes = append(k.Sizes, s.Size())
	}
	for range 4 {
		shapes = append(shapes, list...)
	}
	n := len(list)
	for _, decoupled := range []bool{true, false} {
		rule := kernels.Adam{Decoupled: decoupled, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Rates: []float64{1, 2, 1, 0.5}}
		t.Run(fmt.Sprint("decoupled ", decoupled), func(t *testing.T) {
			twins(t, "tensors", append(shapes, f32(3), f32()), func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				p, m, grads, hyper, scale := in[:n], in[n:2*n], in[3*n:4*n], g.Mul(in[4*n], in[4*n]), in[4*n+1]
				var v []hlo.Value
				for _, x := range in[2*n : 3*n] {
					v = append(v, g.Mul(x, x))
				}
				kernel = append([]hlo.Value{g.Squares(k, grads)}, g.Adam(k, rule, p, m, v, grads, hyper, scale)...)

				f := func(v float64) hlo.Value { return g.Const(dtypes.Float32, v) }
				h := func(i int) hlo.Value { return g.Reshape(g.Slice(hyper, 0, i, i+1)) }
				total := f(0)
				next := make([]hlo.Value, 3*n)
				for i := range list {
					sum := g.Mul(grads[i], grads[i])
					for len(sum.Dims()) > 0 {
						sum = g.Sum(sum, 0)
					}
					total = g.Add(total, sum)
					q, d, rate := p[i], g.Mul(grads[i], scale), g.Scale(h(0), rule.Rates[i])
					if decoupled {
						q = g.Mul(q, g.Sub(f(1), g.Scale(rate, rule.Decay)))
					} else {
						d = g.Add(d, g.Scale(q, rule.Decay))
					}
					m2 := g.Add(g.Scale(m[i], rule.Beta1), g.Scale(d, 1-rule.Beta1))
					v2 := g.Add(g.Scale(v[i], rule.Beta2), g.Scale(g.Mul(d, d), 1-rule.Beta2))
					root := g.Add(g.Div(g.Sqrt(v2), g.Sqrt(h(2))), f(rule.Eps))
					next[i], next[n+i], next[2*n+i] = g.Sub(q, g.Mul(g.Div(rate, h(1)), g.Div(m2, root))), m2, v2
				}
				return kernel, append([]hlo.Value{total}, next...)
			})
		})
	}
}

// TestStackKernel holds the kernel that puts matrices together to plain operations.
func TestStackKernel(t *testing.T) {
	f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
	twins(t, "stack", []device.Shape{f32(40, 100), f32(8, 3)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
		x, y := in[0], in[1]
		kernel = g.Stack([]kernels.Matrix{
			{Rows: 50, Cols: 104, Pieces: []kernels.Piece{{From: 1, Rows: 30, Cols: 100, Row: 2, Col: 3, Factor: 2}, {Rows: 8, Cols: 3, Row: 40, Col: 0, Factor: 1}}},
			{Rows: 8, Cols: 3, Pieces: []kernels.Piece{{Rows: 8, Cols: 3, Factor: 0.5}}},
		}, []hlo.Value{x, y, y})
		first := g.Pad(g.Pad(g.Scale(g.Slice(x, 0, 1, 31), 2), 0, 2, 18), 1, 3, 1)
		second := g.Pad(g.Pad(y, 0, 40, 2), 1, 0, 101)
		return kernel, []hlo.Value{g.Add(first, second), g.Scale(y, 0.5)}
	})
}

// TestUnstackKernel holds the kernel that takes matrices out of larger ones to plain operations: rows of one, turned rows
// of two with parts to add, and columns with a weight.
func TestUnstackKernel(t *testing.T) {
	f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
	twins(t, "unstack", []device.Shape{f32(40, 100), f32(3, 8, 50), bf(100)}, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
		x, y, w := in[0], in[1], in[2]
		share := kernels.Share{Rows: 50, Parts: 3, Height: 8, Wide: 50, Factor: 0.5, Weight: -1}
		second := share
		second.Row, second.FromRow = 50, 4
		kernel = g.Unstack([]kernels.Out{
			{Rows: 7, Cols: 100, Shares: []kernels.Share{{Rows: 7, Parts: 1, Height: 40, Wide: 100, FromRow: 2, Factor: 2, Weight: 0}}},
			{Rows: 100, Cols: 4, Turned: true, Shares: []kernels.Share{share, second}},
			{Rows: 5, Cols: 6, Shares: []kernels.Share{{Rows: 5, Parts: 1, Height: 40, Wide: 100, FromRow: 30, FromCol: 90, Factor: 1, Weight: -1}}},
		}, []hlo.Value{x, y, y, x}, []hlo.Value{w})
		own := g.Scale(g.Slice(x, 0, 2, 9), 2)
		sum := g.Transpose(g.Scale(g.Sum(y, 0), 0.5), 1, 0) // [50,8]
		both := g.Concat(0, g.Slice(sum, 1, 0, 4), g.Slice(sum, 1, 4, 8))
		return kernel, []hlo.Value{g.Mul(own, g.Like(g.F32(w), own, 1)), both, g.Slice(g.Slice(x, 0, 30, 35), 1, 90, 96)}
	})
}

// TestTurnedKernels holds the rotary kernels with adapters inside to those without and plain products.
func TestTurnedKernels(t *testing.T) {
	for _, c := range []kernels.Turned{
		{Rotary: kernels.Rotary{Rows: 20, Heads: 4, KV: 2, Width: 64, Turned: 64}, Dim: 16},
		{Rotary: kernels.Rotary{Rows: 33, Heads: 3, KV: 1, Width: 128, Turned: 128}, Dim: 32},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			nq, nk := c.Heads*c.Width, c.KV*c.Width
			n := nq + 2*nk
			f32 := func(dims ...int) device.Shape { return device.MakeShape(dtypes.Float32, dims...) }
			angles := f32(c.Rows, c.Width/2)
			shapes := []device.Shape{bf(c.Rows, n), bf(c.Rows, 3*c.Dim), bf(n, c.Dim), f32(n), angles, angles, bf(c.Rows, nq), bf(c.Rows, nk), bf(c.Rows, nk)}
			twins(t, "turned", shapes, func(g *hlo.Graph, in []hlo.Value) (kernel, plain []hlo.Value) {
				qkv, tt, b, bias, cos, sin, dq, dk, dv := in[0], in[1], g.Scale(in[2], 0.125), in[3], in[4], in[5], in[6], in[7], in[8]
				q, k, v := g.RotaryLow(c, qkv, tt, b, hlo.Value{}, cos, sin)
				qb, kb, vb := g.RotaryLow(c, qkv, tt, b, bias, cos, sin)
				d := g.RotaryLowBackward(c, dq, dk, dv, tt, b, cos, sin, hlo.Value{})
				kernel = []hlo.Value{q, k, v, qb, kb, vb, d.QKV, g.Sum(d.B, 0), d.Low[0], d.Low[1], d.Low[2]}

				bounds := []int{0, nq, nq + nk, n}
				third := func(i int) (ti, bi hlo.Value) {
					return g.Slice(tt, 1, i*c.Dim, (i+1)*c.Dim), g.Slice(b, 0, bounds[i], bounds[i+1])
				}
				var deltas []hlo.Value
				for i := range 3 {
					ti, bi := third(i)
					deltas = append(deltas, g.NT(ti, bi))
				}
				whole := g.To(g.Add(g.F32(qkv), g.Concat(1, deltas...)), dtypes.BFloat16)
				q, k, v = g.Rotary(c.Rotary, whole, hlo.Value{}, cos, sin)
				qb, kb, vb = g.Rotary(c.Rotary, whole, bias, cos, sin)
				dqkv := g.RotaryBackward(c.Rotary, dq, dk, dv, cos, sin)
				var dbs, lows []hlo.Value
				for i := range 3 {
					ti, bi := third(i)
					own := g.Slice(dqkv, 1, bounds[i], bounds[i+1])
					dbs, lows = append(dbs, g.TN(ti, own)), append(lows, g.NN(own, bi))
				}
				return kernel, append([]hlo.Value{q, k, v, qb, kb, vb, dqkv, g.Concat(1, dbs...)}, lows...)
			})
		})
	}
}
