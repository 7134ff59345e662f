package hlo

import "gorun/csrc/kernels"

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
