package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Rotary takes the product of q, k and v apart and turns q and k, by a kernel: qkv [T,(H+2K)E]; bias [(H+2K)E] float32, if
// it is there, is added first; cosine and sine [T,Rot/2] float32. q [T,H*E], k and v [T,K*E].
func (g *Graph) Rotary(k kernels.Rotary, qkv, bias, cosine, sine Value) (q, key, v Value) {
	operands := []Value{qkv}
	if bias.Valid() {
		operands = append(operands, bias)
	}
	kv := bfloat(k.Rows, k.KV*k.Width)
	out := g.Kernel(k.Forward(bias.Valid()), append(operands, cosine, sine), bfloat(k.Rows, k.Heads*k.Width), kv, kv)
	return out[0], out[1], out[2]
}

// RotaryBackward is the gradient of the product, of those of q, k and v.
func (g *Graph) RotaryBackward(k kernels.Rotary, dq, dk, dv, cosine, sine Value) Value {
	return g.Kernel(k.Backward(), []Value{dq, dk, dv, cosine, sine}, bfloat(k.Rows, (k.Heads+2*k.KV)*k.Width))[0]
}

// RotaryLow is Rotary with adapters inside: t [T,3*Dim], of q, k and v side by side, times b^T, b [(H+2K)E,Dim], is added
// to qkv first.
func (g *Graph) RotaryLow(k kernels.Turned, qkv, t, b, bias, cosine, sine Value) (q, key, v Value) {
	operands := []Value{qkv, t, b}
	if bias.Valid() {
		operands = append(operands, bias)
	}
	kv := bfloat(k.Rows, k.KV*k.Width)
	out := g.Kernel(k.Forward(bias.Valid()), append(operands, cosine, sine), bfloat(k.Rows, k.Heads*k.Width), kv, kv)
	return out[0], out[1], out[2]
}

// RotaryGrads is what RotaryLowBackward gives.
type RotaryGrads struct {
	QKV Value    // of the product, with Float8 E4M3
	B   Value    // of b, in parts to be added up, turned [Groups,Dim,(H+2K)E] float32
	Low [3]Value // of the parts of t [T,Dim] float32
}

// RotaryLowBackward is the gradient of RotaryLow, of those of q, k and v. unit is asked for only with Float8: that of the
// product's gradient [] float32.
func (g *Graph) RotaryLowBackward(k kernels.Turned, dq, dk, dv, t, b, cosine, sine, unit Value) RotaryGrads {
	n := (k.Heads + 2*k.KV) * k.Width
	counts := [3]int{k.BlocksOf(k.Heads), k.BlocksOf(k.KV), k.BlocksOf(k.KV)}
	operands, first := []Value{dq, dk, dv, t, b, cosine, sine}, bfloat(k.Rows, n)
	if k.Float8 {
		operands, first.DType = append(operands, g.inverse(unit)), E4M3
	}
	out := g.Kernel(k.Backward(), operands,
		first, device.MakeShape(dtypes.Float32, k.Groups(), k.Dim, n), bfloat(counts[0]+counts[1]+counts[2], k.Rows, k.Dim))
	r := RotaryGrads{QKV: out[0], B: out[1]}
	at := 0
	for i, n := range counts {
		r.Low[i] = g.Sum(g.F32(g.Slice(out[2], 0, at, at+n)), 0)
		at += n
	}
	return r
}
