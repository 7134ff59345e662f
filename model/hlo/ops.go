package hlo

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/go-xla/stablehlo"
	"github.com/gomlx/go-xla/types"
	"github.com/gomlx/go-xla/types/shapes"
)

// Const is a scalar constant of the given dtype.
func (g *Graph) Const(dtype dtypes.DType, v float64) Value {
	switch dtype {
	case dtypes.Float32:
		return must(g.fn.ConstantFromScalar(float32(v)))
	case dtypes.BFloat16:
		return must(g.fn.ConstantFromScalar(bfloat16.FromFloat32(float32(v))))
	case dtypes.Int32:
		return must(g.fn.ConstantFromScalar(int32(v)))
	case dtypes.Uint32:
		return must(g.fn.ConstantFromScalar(uint32(v)))
	}
	panic(fmt.Sprintf("no constant of %s", dtype))
}

// Full is an array of one value.
func (g *Graph) Full(dtype dtypes.DType, v float64, dims ...int) Value {
	return g.Broadcast(g.Const(dtype, v), dims)
}

// Iota counts 0, 1, 2, ... along axis.
func (g *Graph) Iota(dtype dtypes.DType, axis int, dims ...int) Value {
	return must(g.fn.Iota(shapes.Make(dtype, dims...), axis))
}

// Broadcast repeats x to dims; axes say where x's own axes go.
func (g *Graph) Broadcast(x Value, dims []int, axes ...int) Value {
	if slices.Equal(x.Dims(), dims) {
		return x
	}
	return must(stablehlo.BroadcastInDim(x.v, shapes.Make(x.DType(), dims...), axes))
}

// Like repeats x to the dims of y: x is a scalar, or its axes go where the given ones say.
func (g *Graph) Like(x, y Value, axes ...int) Value { return g.Broadcast(x, y.Dims(), axes...) }

// pair brings a scalar operand to the other's dims.
func (g *Graph) pair(a, b Value) (*stablehlo.Value, *stablehlo.Value) {
	if len(a.Dims()) == 0 {
		a = g.Broadcast(a, b.Dims())
	}
	if len(b.Dims()) == 0 {
		b = g.Broadcast(b, a.Dims())
	}
	return a.v, b.v
}

// Add is a + b; a scalar operand is repeated, as in all two-operand operations here.
func (g *Graph) Add(a, b Value) Value { return must(stablehlo.Add(g.pair(a, b))) }

// Sub is a - b.
func (g *Graph) Sub(a, b Value) Value { return must(stablehlo.Subtract(g.pair(a, b))) }

// Mul is a * b.
func (g *Graph) Mul(a, b Value) Value { return must(stablehlo.Multiply(g.pair(a, b))) }

// Div is a / b.
func (g *Graph) Div(a, b Value) Value { return must(stablehlo.Divide(g.pair(a, b))) }

// Max is the larger of a and b.
func (g *Graph) Max(a, b Value) Value { return must(stablehlo.Maximum(g.pair(a, b))) }

// Min is the smaller of a and b.
func (g *Graph) Min(a, b Value) Value { return must(stablehlo.Minimum(g.pair(a, b))) }

// And is the logical (or bitwise) and.
func (g *Graph) And(a, b Value) Value { return must(stablehlo.And(g.pair(a, b))) }

// Xor is the bitwise exclusive or.
func (g *Graph) Xor(a, b Value) Value { return must(stablehlo.Xor(g.pair(a, b))) }

// ShiftRight shifts unsigned integers right.
func (g *Graph) ShiftRight(a, b Value) Value { return must(stablehlo.ShiftRightLogical(g.pair(a, b))) }

// Scale is x * c.
func (g *Graph) Scale(x Value, c float64) Value {
	if c == 1 {
		return x
	}
	return g.Mul(x, g.Const(x.DType(), c))
}

// Exp is e^x.
func (g *Graph) Exp(x Value) Value { return must(stablehlo.Exponential(x.v)) }

// Log is the natural logarithm.
func (g *Graph) Log(x Value) Value { return must(stablehlo.Log(x.v)) }

// Sqrt is the square root.
func (g *Graph) Sqrt(x Value) Value { return must(stablehlo.Sqrt(x.v)) }

// Rsqrt is 1/sqrt(x).
func (g *Graph) Rsqrt(x Value) Value { return must(stablehlo.Rsqrt(x.v)) }

// Logistic is 1/(1+e^-x).
func (g *Graph) Logistic(x Value) Value { return must(stablehlo.Logistic(x.v)) }

// Tanh is the hyperbolic tangent.
func (g *Graph) Tanh(x Value) Value { return must(stablehlo.Tanh(x.v)) }

// Neg is -x.
func (g *Graph) Neg(x Value) Value { return must(stablehlo.Negate(x.v)) }

// To converts to another dtype.
func (g *Graph) To(x Value, dtype dtypes.DType) Value {
	if x.DType() == dtype {
		return x
	}
	return must(stablehlo.Convert(x.v, dtype))
}

// F32 converts to float32.
func (g *Graph) F32(x Value) Value { return g.To(x, dtypes.Float32) }

// Compare is a boolean array of a <op> b, op one of "==", "!=", "<", "<=", ">", ">=".
func (g *Graph) Compare(a Value, op string, b Value) Value {
	dir, ok := map[string]types.ComparisonDirection{"==": types.CompareEQ, "!=": types.CompareNE, "<": types.CompareLT,
		"<=": types.CompareLE, ">": types.CompareGT, ">=": types.CompareGE}[op]
	if !ok {
		panic("no comparison " + op)
	}
	kind := types.CompareFloat
	switch a.DType() {
	case dtypes.Int32:
		kind = types.CompareSigned
	case dtypes.Uint32, dtypes.Bool:
		kind = types.CompareUnsigned
	}
	l, r := g.pair(a, b)
	return must(stablehlo.Compare(l, r, dir, kind))
}

// Select takes a where cond holds, else b.
func (g *Graph) Select(cond, a, b Value) Value {
	if len(a.Dims()) == 0 {
		a = g.Like(a, cond)
	}
	if len(b.Dims()) == 0 {
		b = g.Like(b, cond)
	}
	return must(stablehlo.Select(cond.v, a.v, b.v))
}

// Reshape changes the dims, not the order of elements.
func (g *Graph) Reshape(x Value, dims ...int) Value {
	if slices.Equal(x.Dims(), dims) {
		return x
	}
	return must(stablehlo.Reshape(x.v, shapes.Make(x.DType(), dims...)))
}

// Transpose puts x's axis perm[i] at place i.
func (g *Graph) Transpose(x Value, perm ...int) Value { return must(stablehlo.Transpose(x.v, perm...)) }

// Slice takes [lo, hi) of one axis.
func (g *Graph) Slice(x Value, axis, lo, hi int) Value {
	if lo == 0 && hi == x.Dim(axis) {
		return x
	}
	starts, limits := make([]int, len(x.Dims())), slices.Clone(x.Dims())
	starts[axis], limits[axis] = lo, hi
	return must(stablehlo.Slice(x.v, starts, limits, nil))
}

// Concat joins along one axis.
func (g *Graph) Concat(axis int, xs ...Value) Value {
	if len(xs) == 1 {
		return xs[0]
	}
	vs := make([]*stablehlo.Value, len(xs))
	for i, x := range xs {
		vs[i] = x.v
	}
	return must(stablehlo.Concatenate(axis, vs...))
}

// Pad adds zeros before and after along one axis.
func (g *Graph) Pad(x Value, axis, before, after int) Value {
	if before == 0 && after == 0 {
		return x
	}
	lo, hi, inner := make([]int, len(x.Dims())), make([]int, len(x.Dims())), make([]int, len(x.Dims()))
	lo[axis], hi[axis] = before, after
	return must(stablehlo.Pad(x.v, g.Const(x.DType(), 0).v, lo, hi, inner))
}

// Dot contracts axis ca of a with axis cb of b; leading axes 0..batch-1 are batch axes of both. The result is float32,
// whatever the operands are: that is both exact enough and, on CPU, the fast path for bf16. Float32 operands are
// multiplied as such: XLA would else round them to 10 bits (TF32) on NVIDIA GPUs.
func (g *Graph) Dot(a Value, ca int, b Value, cb, batch int) Value {
	return g.dot(a, ca, b, cb, batch, dtypes.Float32)
}

// Product contracts axis ca of a matrix with axis cb of another, as Dot does, and rounds the result to dtype: on a GPU a
// wide result costs as much to write as the product to compute.
func (g *Graph) Product(a Value, ca int, b Value, cb int, dtype dtypes.DType) Value {
	return g.dot(a, ca, b, cb, 0, dtype)
}

func (g *Graph) dot(a Value, ca int, b Value, cb, batch int, dtype dtypes.DType) Value {
	axes := make([]int, batch)
	for i := range axes {
		axes[i] = i
	}
	dot := stablehlo.DotGeneral(a.v, []int{ca}, axes, b.v, []int{cb}, axes).OutputDType(dtype)
	if a.DType() == dtypes.Float32 {
		dot = dot.Precision(types.DotGeneralPrecisionHighest, types.DotGeneralPrecisionHighest)
	}
	return must(dot.Done())
}

// NT is a b^T: [M,K] x [N,K] -> [M,N], float32. The layout of a linear's forward pass.
func (g *Graph) NT(a, b Value) Value { return g.Dot(a, 1, b, 1, 0) }

// NN is a b: [M,K] x [K,N] -> [M,N], float32. The layout of a linear's input gradient.
func (g *Graph) NN(a, b Value) Value { return g.Dot(a, 1, b, 0, 0) }

// TN is a^T b: [K,M] x [K,N] -> [M,N], float32. The layout of a linear's weight gradient.
func (g *Graph) TN(a, b Value) Value { return g.Dot(a, 0, b, 0, 0) }

// Sum adds along axes.
func (g *Graph) Sum(x Value, axes ...int) Value {
	return g.reduce(x, 0, stablehlo.Add, axes)
}

// MaxOver takes the maximum along axes.
func (g *Graph) MaxOver(x Value, axes ...int) Value {
	return g.reduce(x, lowest(x.DType()), stablehlo.Maximum, axes)
}

func lowest(d dtypes.DType) float64 {
	if d == dtypes.Float32 || d == dtypes.BFloat16 {
		return -3e38
	}
	return -1 << 31
}

func (g *Graph) reduce(x Value, start float64, op func(a, b *stablehlo.Value) (*stablehlo.Value, error), axes []int) Value {
	fn := g.fn.Closure()
	scalar := shapes.Make(x.DType())
	a, b := must(fn.Input(scalar)), must(fn.Input(scalar))
	if err := fn.Return(must(op(a.v, b.v)).v); err != nil {
		panic(err)
	}
	return must(stablehlo.Reduce(x.v, g.Const(x.DType(), start).v, fn, axes...))
}

// Rows gathers rows of x [N, ...] by ids (int32), whose last axis has size 1: result dims are the others of ids,
// followed by the others of x.
func (g *Graph) Rows(x, ids Value) Value {
	n := len(ids.Dims()) - 1
	sizes := slices.Clone(x.Dims())
	sizes[0] = 1
	offsets := make([]int, len(x.Dims())-1)
	for i := range offsets {
		offsets[i] = n + i
	}
	return must(stablehlo.Gather(x.v, ids.v, n, offsets, []int{0}, nil, nil, []int{0}, sizes, false))
}

// AddRows is x [N, D] with rows of updates [M, D] added at ids [M, 1]; ids out of range add nothing.
func (g *Graph) AddRows(x, ids, updates Value) Value { return g.addRows(x, ids, updates, false) }

// AddUniqueRows is AddRows where no two ids are the same, which spares a GPU atomic additions.
func (g *Graph) AddUniqueRows(x, ids, updates Value) Value { return g.addRows(x, ids, updates, true) }

func (g *Graph) addRows(x, ids, updates Value, unique bool) Value {
	fn := g.fn.Closure()
	scalar := shapes.Make(x.DType())
	a, b := must(fn.Input(scalar)), must(fn.Input(scalar))
	if err := fn.Return(must(stablehlo.Add(a.v, b.v)).v); err != nil {
		panic(err)
	}
	return must(stablehlo.Scatter(x.v, ids.v, updates.v, []int{1}, []int{0}, nil, nil, []int{0}, 1, false, unique, fn))
}

// At picks x[i, cols[i]] of x [N, M] for cols [N] (int32): one element of every row.
func (g *Graph) At(x, cols Value) Value {
	return must(stablehlo.Gather(x.v, g.everyRow(cols).v, 1, nil, []int{0, 1}, nil, nil, []int{0, 1}, []int{1, 1}, false))
}

// SetAt is x [N, M] with x[i, cols[i]] replaced by v[i]; cols [N] (int32), v [N]. A column that there is not sets nothing.
func (g *Graph) SetAt(x, cols, v Value) Value {
	fn := g.fn.Closure()
	scalar := shapes.Make(x.DType())
	_, b := must(fn.Input(scalar)), must(fn.Input(scalar))
	if err := fn.Return(b.v); err != nil {
		panic(err)
	}
	return must(stablehlo.Scatter(x.v, g.everyRow(cols).v, v.v, nil, []int{0, 1}, nil, nil, []int{0, 1}, 1, true, true, fn))
}

// everyRow makes indices [N, 2] (i, cols[i]).
func (g *Graph) everyRow(cols Value) Value {
	n := cols.Dim(0)
	return g.Concat(1, g.Iota(dtypes.Int32, 0, n, 1), g.Reshape(cols, n, 1))
}

// Barrier keeps the compiler from moving operations across x.
func (g *Graph) Barrier(x Value) Value {
	out, err := stablehlo.OptimizationBarrier(x.v)
	if err != nil {
		panic(err)
	}
	return Value{out[0]}
}

// DynamicSlice takes size elements of one axis from a start that is known only at run time (int32 scalar).
func (g *Graph) DynamicSlice(x Value, axis int, start Value, size int) Value {
	sizes := slices.Clone(x.Dims())
	sizes[axis] = size
	return must(stablehlo.DynamicSlice(x.v, g.starts(x, axis, start), sizes))
}

// DynamicUpdate replaces a part of x, along one axis from start (int32 scalar), by update.
func (g *Graph) DynamicUpdate(x, update Value, axis int, start Value) Value {
	return must(stablehlo.DynamicUpdateSlice(x.v, update.v, g.starts(x, axis, start)))
}

func (g *Graph) starts(x Value, axis int, start Value) []*stablehlo.Value {
	zero := g.Const(dtypes.Int32, 0)
	out := make([]*stablehlo.Value, len(x.Dims()))
	for i := range out {
		out[i] = zero.v
	}
	out[axis] = start.v
	return out
}
