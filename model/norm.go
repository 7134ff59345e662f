package model

import "gorun/model/hlo"

// rms is the reciprocal root mean square of x over its last axis, float32, with that axis gone.
func (e *emit) rms(x hlo.Value) hlo.Value {
	f := e.F32(x)
	last := len(x.Dims()) - 1
	mean := e.Scale(e.Sum(e.Mul(f, f), last), 1/float64(x.Dim(last)))
	return e.Rsqrt(e.Add(mean, e.Const(f.DType(), e.cfg.Decoder.NormEps)))
}

// leading lists the axes of x but the last.
func leading(x hlo.Value) []int {
	axes := make([]int, len(x.Dims())-1)
	for i := range axes {
		axes[i] = i
	}
	return axes
}

// gain is what norm number i multiplies by, float32.
func (e *emit) gain(i int) hlo.Value {
	w := e.F32(e.w[i])
	if e.cfg.Decoder.NormPlusOne {
		return e.Add(w, e.Const(w.DType(), 1))
	}
	return w
}

// norm is RMSNorm over the last axis of x (any dtype) with weight number i; the result has the compute dtype. Without a
// norm, -1, it is x.
func (e *emit) norm(x hlo.Value, i int) hlo.Value {
	if i < 0 {
		return x
	}
	last := len(x.Dims()) - 1
	if last == 1 {
		if k, ok := e.normKernel(x.Dim(0), x.Dim(1)); ok {
			return e.Norm(k, x, hlo.Value{}, e.weight(i), hlo.Value{}).H
		}
	}
	if e.cfg.Decoder.NormPlusOne { // rounded once, after both products, as Gemma is
		n := e.Mul(e.F32(x), e.Like(e.rms(x), x, leading(x)...))
		return e.c(e.Mul(n, e.Like(e.gain(i), n, last)))
	}
	n := e.c(e.Mul(e.F32(x), e.Like(e.rms(x), x, leading(x)...)))
	return e.Mul(n, e.Like(e.weight(i), n, last))
}

// normBackward turns the gradient of norm(x, i) into that of x, float32: with r = rms(x), g = dy*w,
// dx = r*g - x * r^3 * mean(g*x). It records the weight's gradient in full fine-tuning.
func (e *emit) normBackward(x hlo.Value, i int, dy hlo.Value) hlo.Value {
	if i < 0 {
		return dy
	}
	last, axes := len(x.Dims())-1, leading(x)
	f, dy := e.F32(x), e.F32(dy)
	r := e.Like(e.rms(x), x, axes...)
	if e.cfg.Full {
		e.grad(i, e.Sum(e.Mul(dy, e.Mul(f, r)), axes...))
	}
	g := e.Mul(dy, e.Like(e.gain(i), x, last))
	mean := e.Like(e.Scale(e.Sum(e.Mul(g, f), last), 1/float64(x.Dim(last))), x, axes...)
	return e.Mul(r, e.Sub(g, e.Mul(f, e.Mul(mean, e.Mul(r, r)))))
}
