package model

import "gorun/model/hlo"

// heads turns a projection [T, n*E] into heads [B,n,S,E] in the compute dtype: split, norm per head where the family
// has one (weight number norm, -1 = none), rotate where rotary is true.
func (e *emit) heads(x hlo.Value, n, norm int, rotary bool) hlo.Value {
	if norm >= 0 && e.cfg.Decoder.QKNormWide {
		x, norm = e.norm(x, norm), -1
	}
	h := e.Reshape(x, e.rows, e.seq, n, e.cfg.Decoder.HeadDim)
	if norm >= 0 {
		h = e.norm(h, norm)
	}
	if rotary {
		h = e.rotate(e.F32(h), 1)
	}
	return e.Transpose(e.c(h), 0, 2, 1, 3)
}

// headsBackward is the gradient of heads: dh [B,n,S,E] of any dtype, x as forward had it; the result is [T, n*E] in the
// compute dtype.
func (e *emit) headsBackward(x, dh hlo.Value, norm int, rotary bool) hlo.Value {
	d := e.Transpose(dh, 0, 2, 1, 3)
	if rotary {
		d = e.rotate(e.F32(d), -1)
	}
	switch {
	case norm >= 0 && e.cfg.Decoder.QKNormWide:
		d = e.normBackward(x, norm, e.Reshape(d, x.Dims()...))
	case norm >= 0:
		d = e.normBackward(e.Reshape(x, d.Dims()...), norm, d)
	}
	return e.Reshape(e.c(d), x.Dims()...)
}

// rotate applies rotary position embedding to h [B,S,n,E] float32 over the first Rope.Dim features of each head; pairs
// are (i, i+Dim/2). sign -1 turns the other way, which is the gradient.
func (e *emit) rotate(h hlo.Value, sign float64) hlo.Value {
	rot := e.cfg.Decoder.Rope.Dim
	x1, x2 := e.Slice(h, 3, 0, rot/2), e.Slice(h, 3, rot/2, rot)
	cos, sin := e.Like(e.cos, x1, 0, 1, 3), e.Scale(e.Like(e.sin, x1, 0, 1, 3), sign)
	y1 := e.Sub(e.Mul(x1, cos), e.Mul(x2, sin))
	y2 := e.Add(e.Mul(x2, cos), e.Mul(x1, sin))
	if rot == h.Dim(3) {
		return e.Concat(3, y1, y2)
	}
	return e.Concat(3, y1, y2, e.Slice(h, 3, rot, h.Dim(3)))
}
