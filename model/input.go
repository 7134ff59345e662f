package model

import "gorun/model/hlo"

// input is what a linear was applied to, as the gradient of its A wants it: x [T,in], or, if there is a scale, the norm of
// x, which is not computed for it: with h = x * scale * weight, s^T h is ((s * scale)^T x) * weight, and s is narrow.
type input struct {
	x      hlo.Value
	scale  hlo.Value // reciprocal root mean square of each row [T] float32; invalid: x is the input itself
	weight hlo.Value // of the norm [in]
}

// crossed is s^T times the input, for s [T,R] in the compute dtype, but for the weight, if there is one, by columns:
// [R,in] float32.
func (in input) crossed(e *emit, sTR hlo.Value) hlo.Value {
	if !in.scale.Valid() {
		return e.crossed(sTR, in.x)
	}
	f := e.F32(sTR)
	return e.crossed(e.c(e.Mul(f, e.Like(in.scale, f, 0))), in.x)
}
