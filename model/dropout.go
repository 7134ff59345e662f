package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// drop zeroes elements of the product's input x [T,in] with the configured probability and scales the rest up. The mask
// is a function of the sample's key, the place in the sample, the feature and salt (which adapter), so backward draws it
// again and no batching, packing or splitting changes it.
func (l linear) drop(e *emit, x hlo.Value, salt int) hlo.Value {
	u := func(v uint32) hlo.Value { return e.Const(dtypes.Uint32, float64(v)) }
	dims := []int{e.rows, e.seq, l.in}
	at, keyAxes := e.Broadcast(e.place(dtypes.Uint32), dims, 1), []int{0}
	if e.starts.Valid() {
		at, keyAxes = e.Sub(at, e.Broadcast(e.To(e.starts, dtypes.Uint32), dims, 0, 1)), []int{0, 1}
	}
	feature := e.Add(e.Iota(dtypes.Uint32, 2, dims...), u(uint32(l.first)))
	place := e.Add(e.Mul(at, u(uint32(l.wide))), feature)
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
