package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// dropsInput and dropsOutput tell where an adapter is dropped: before A, as PEFT does, or behind B.
func (e *emit) dropsInput() bool  { return e.dropKey.Valid() && !e.cfg.DropPost }
func (e *emit) dropsOutput() bool { return e.dropKey.Valid() && e.cfg.DropPost }

// drop is e.drop of the product's input x [T,in] for one adapter.
func (l linear) drop(e *emit, x hlo.Value, s segment) hlo.Value {
	return e.drop(x, []Part{{From: l.first, Rows: l.in}}, l.wide, s.a)
}

// dropOutputs is e.drop of what every adapter gives: of its columns of y [T,out].
func (l linear) dropOutputs(e *emit, yTN hlo.Value) hlo.Value {
	parts := make([]hlo.Value, len(l.segs))
	for i, s := range l.segs {
		parts[i] = e.Slice(yTN, 1, s.from, s.to)
		if s.a >= 0 {
			parts[i] = e.drop(parts[i], s.rows, s.wide, s.a)
		}
	}
	return e.Concat(1, parts...)
}

// drop zeroes elements of x with the configured probability and scales the rest up. The columns of x are runs of so many
// features, which count from From in all of the linear's. The mask is a function of the sample's key, the place in the
// sample, the feature and salt (which adapter), so backward draws it again and no batching, packing or splitting changes it.
func (e *emit) drop(x hlo.Value, columns []Part, wide, salt int) hlo.Value {
	u := func(v uint32) hlo.Value { return e.Const(dtypes.Uint32, float64(v)) }
	dims := []int{e.rows, e.seq, x.Dim(1)}
	at, keyAxes := e.Broadcast(e.place(dtypes.Uint32), dims, 1), []int{0}
	if e.starts.Valid() {
		at, keyAxes = e.Sub(at, e.Broadcast(e.To(e.starts, dtypes.Uint32), dims, 0, 1)), []int{0, 1}
	}
	var features []hlo.Value
	for _, c := range columns {
		features = append(features, e.Add(e.Iota(dtypes.Uint32, 2, e.rows, e.seq, c.Rows), u(uint32(c.From))))
	}
	place := e.Add(e.Mul(at, u(uint32(wide))), e.Concat(2, features...))
	key := e.Broadcast(e.mix(e.Add(e.dropKey, u(uint32(salt)*0x9e3779b9))), dims, keyAxes...)
	bits := e.mix(e.Xor(e.mix(e.Add(place, key)), key))
	keep := e.Compare(bits, ">=", u(uint32(e.cfg.Dropout*(1<<32))))
	scaled := e.Scale(x, 1/(1-e.cfg.Dropout))
	return e.Select(e.Reshape(keep, x.Dims()...), scaled, e.Const(x.DType(), 0))
}

// mix is the 32-bit finalizer of MurmurHash3: every bit of the input flips half of the output.
func (e *emit) mix(x hlo.Value) hlo.Value {
	u := func(v uint32) hlo.Value { return e.Const(dtypes.Uint32, float64(v)) }
	x = e.Mul(e.Xor(x, e.ShiftRight(x, u(16))), u(0x85ebca6b))
	x = e.Mul(e.Xor(x, e.ShiftRight(x, u(13))), u(0xc2b2ae35))
	return e.Xor(x, e.ShiftRight(x, u(16)))
}
