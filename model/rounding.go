package model

import (
	"math"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/kernels"
	"gorun/model/hlo"
)

// rounding is what kernels have done on their way for the rounding of a program's arrays to 8-bit floats: an array that is
// not among these is read for its greatest magnitude and again to be rounded.
type rounding struct {
	done map[hlo.Value]hlo.Float8 // arrays that are in 8-bit floats too, or only
	most map[hlo.Value]hlo.Value  // the greatest magnitude, or a number not below it [] float32
}

func newRounding() rounding {
	return rounding{done: map[hlo.Value]hlo.Float8{}, most: map[hlo.Value]hlo.Value{}}
}

// narrow is x, any array, in 8-bit floats with one unit.
func (e *emit) narrow(x hlo.Value, dtype dtypes.DType) hlo.Float8 {
	if f, ok := e.rounding.done[x]; ok {
		return f
	}
	most, ok := e.rounding.most[x]
	if !ok {
		most = e.MaxOver(e.Abs(e.F32(x)), 0, 1)
	}
	return e.Narrow(x, dtype, e.Unit(most, dtype))
}

// narrowRows rounds x [T,N] in the compute dtype to E4M3 with a unit for each row.
func (e *emit) narrowRows(x hlo.Value) hlo.Float8 {
	if f, ok := e.rounding.done[x]; ok {
		return f
	}
	if k := (kernels.Narrow{Rows: x.Dim(0), Width: x.Dim(1)}); e.cfg.Kernels && k.Fits() {
		f, _ := e.NarrowRows(k, x)
		return f
	}
	return e.Narrow(x, hlo.E4M3, e.Unit(e.MaxOver(e.Abs(e.F32(x)), 1), hlo.E4M3))
}

// normed is norm(x, i) of x [T,D] for a product of the block.
func (e *emit) normed(x hlo.Value, i int) hlo.Value {
	k, ok := e.normKernel(x.Dim(0), x.Dim(1))
	if !ok || i < 0 {
		return e.norm(x, i)
	}
	_, h := e.sumNormed(k, x, hlo.Value{}, i)
	return h
}

// sumNormed is x + y, or x if y is not there, and norm number i of that for a product of the block, by the kernel.
func (e *emit) sumNormed(k kernels.Norm, x, y hlo.Value, i int) (sum, h hlo.Value) {
	var unit hlo.Value
	if k.Float8 = e.cfg.Float8; k.Float8 {
		unit = e.Unit(e.normMost(i), hlo.E4M3)
	}
	n := e.Norm(k, x, y, e.weight(i), unit)
	if k.Float8 {
		e.rounding.done[n.H] = n.Narrow
	}
	return n.Sum, n.H
}

// normMost is a number that nothing in a result of norm number i exceeds [] float32: before the weight no number of a row
// is longer than the row, whose length is the root of its size. It is some octaves more than there is, of which E4M3 has
// enough: what is thousands of times smaller than a row's other numbers is all that is rounded more coarsely for it.
func (e *emit) normMost(i int) hlo.Value {
	w := e.F32(e.weight(i))
	return e.Scale(e.MaxOver(e.Abs(w), 0), math.Sqrt(float64(w.Dim(0))))
}

// meansOf says that o is made of weighted means of v's numbers, which are often fewer: none is greater than all of those. Where
// rows are split, other parts' values are among them.
func (e *emit) meansOf(v, o hlo.Value) {
	if e.cfg.Float8 && e.cfg.Kernels && !e.cfg.Split.Context.split() {
		e.rounding.most[o] = e.MaxOver(e.Abs(e.F32(v)), 0, 1)
	}
}

// turnedMost is a number that nothing in the gradient of the product of q, k and v exceeds [] float32, of the gradients of
// what was turned.
func (e *emit) turnedMost(dq, dk, dv hlo.Value) hlo.Value {
	most := e.MaxOver(e.Abs(e.F32(dq)), 0, 1)
	for _, x := range []hlo.Value{dk, dv} {
		most = e.Max(most, e.MaxOver(e.Abs(e.F32(x)), 0, 1))
	}
	const turn = 2 // sqrt(2) by turning a pair, times what cosine and sine are scaled by; E4M3 goes on to 1.75 times more
	return e.Scale(most, turn)
}

// gatedMost is a number that no gradient of gate and up exceeds [] float32: gateUp is the greatest magnitude of those, and
// dm the greatest that the base's share of their product's gradient may have, to which s a is added where s is there. It is
// more than the greatest there is, since the greatest factors need not meet: the kernel writes the gradients as it finds
// them, and E5M2 has octaves to spare.
func (e *emit) gatedMost(gateUp, dm, s, a hlo.Value) hlo.Value {
	if s.Valid() {
		sizes := e.Abs(e.F32(s))
		low := e.Sum(e.Mul(sizes, e.Like(e.MaxOver(e.Abs(e.F32(a)), 1), sizes, 1)), 1)
		dm = e.Add(dm, e.MaxOver(low, 0))
	}
	const slope = 1.1 // silu's is nowhere steeper, and silu nowhere greater than its argument
	return e.Scale(e.Mul(dm, gateUp), slope)
}

// timesBackwardRows is dy W for dy [T,out], which is rounded with a unit for each row, by a kernel: in these units, in the
// compute dtype, with them [T] float32; and a number that nothing in it exceeds [] float32.
func (l linear) timesBackwardRows(e *emit, dyTN hlo.Value) (dx, units, most hlo.Value) {
	f, length := e.NarrowRows(kernels.Narrow{Rows: dyTN.Dim(0), Width: dyTN.Dim(1)}, dyTN)
	dx = e.c(l.timesNarrow(e, f))
	// No column of W [out,in] is longer than out numbers of the greatest size that its unit allows.
	column := e.Scale(e.Reshape(e.w[l.unit]), 0x1p8*math.Sqrt(float64(l.out)))
	const rounded = 1.1 // a row may be longer for being rounded, twice
	return dx, f.Unit, e.Scale(e.Mul(e.MaxOver(length, 0), column), rounded)
}
