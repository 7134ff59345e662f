package hlo

import (
	"bytes"
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/go-xla/stablehlo"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// The 8-bit floats of NVIDIA's FP8 products (Micikevicius et al. 2022, arXiv:2209.05433).
const (
	E4M3 = dtypes.F8E4M3FN // 3 bits of mantissa, 2^-9 to 448
	E5M2 = dtypes.F8E5M2   // 2 bits of mantissa, 2^-16 to 57344
)

// Float8 is an array in 8-bit floats. Each of its numbers counts Unit, which is float32: one for all, or one for each row.
//
// Units are powers of two. So an 8-bit number times its unit is exact in bfloat16 too, a GPU's FP8 product and a product of
// the widened operands multiply the same values, and what is not so small that it falls off the format's lower end does
// not depend on the unit at all.
type Float8 struct{ Value, Unit Value }

// top is the power of two that the greatest number of an array comes to, in its unit: numbers of twice that are still
// within the dtype.
func top(dtype dtypes.DType) float64 {
	if dtype == E4M3 {
		return 0x1p7
	}
	return 0x1p14
}

// leastMost keeps the units of arrays of nothing but zeros, and their reciprocals, normal numbers.
const leastMost = 0x1p-64

// Unit is the unit for numbers of which the greatest has the magnitude most (float32).
func (g *Graph) Unit(most Value, dtype dtypes.DType) Value {
	bits := g.bits(g.Max(most, g.Const(dtypes.Float32, leastMost)), dtypes.Uint32)
	power := g.bits(g.And(bits, g.Const(dtypes.Uint32, 0xff<<23)), dtypes.Float32) // the mantissa cut off
	return g.Scale(power, 1/top(dtype))
}

// Narrow rounds x to nearest even in units of unit, which is for the whole of x or for each of its rows.
func (g *Graph) Narrow(x Value, dtype dtypes.DType, unit Value) Float8 {
	inverse := g.inverse(unit)
	if len(unit.Dims()) > 0 {
		inverse = g.Like(inverse, x, 0)
	}
	// The barrier keeps XLA from taking a rounding that is widened again for superfluous.
	return Float8{g.Barrier(g.To(g.Mul(g.F32(x), inverse), dtype)), unit}
}

// inverse is 1 / unit, exact.
func (g *Graph) inverse(unit Value) Value { return g.Div(g.Const(dtypes.Float32, 1), unit) }

// NarrowRows rounds x [T,D] bfloat16 to E4M3, with a unit for each row, by a kernel, and measures the rows' lengths
// [T] float32.
func (g *Graph) NarrowRows(k kernels.Narrow, x Value) (f Float8, length Value) {
	each := device.MakeShape(dtypes.Float32, k.Rows)
	out := g.Kernel(k.Call(), []Value{x}, device.MakeShape(E4M3, k.Rows, k.Width), each, each)
	return Float8{out[0], out[1]}, out[2]
}

// oneUnit brings x [T,D] in E4M3, whose rows' parts are in units [T,Units], to a unit for each row, by a kernel.
func (g *Graph) oneUnit(k kernels.OneUnit, x, units Value) Float8 {
	out := g.Kernel(k.Call(), []Value{x, units}, device.MakeShape(E4M3, k.Rows, k.Width), device.MakeShape(dtypes.Float32, k.Rows))
	return Float8{out[0], out[1]}
}

// Widen is f in a wider dtype: exact. With a unit for each row, it is in those units. XLA makes a product of two such
// results an FP8 product of cuBLAS on GPUs that have it.
func (g *Graph) Widen(f Float8, dtype dtypes.DType) Value {
	wide := g.To(f.Value, dtype)
	if len(f.Unit.Dims()) > 0 {
		return wide
	}
	return g.Mul(wide, g.To(f.Unit, dtype))
}

// Abs is |x|.
func (g *Graph) Abs(x Value) Value { return must(stablehlo.Abs(x.v)) }

// bits takes the bits of x for those of another dtype of the same size.
func (g *Graph) bits(x Value, dtype dtypes.DType) Value {
	return must(stablehlo.BitcastConvert(x.v, dtype))
}

// named writes the names of dtypes that the builder does not know.
func named(code []byte) []byte {
	for dtype, name := range map[dtypes.DType]string{E4M3: "f8E4M3FN", E5M2: "f8E5M2"} {
		code = bytes.ReplaceAll(code, fmt.Appendf(nil, "unknown_dtype<%s>", dtype), []byte(name))
	}
	return code
}
