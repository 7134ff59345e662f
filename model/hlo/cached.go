package hlo

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// FewOperands are what a product of a few rows has besides the rows and the matrix; those that kernels.Few does not say
// it has are not valid.
type FewOperands struct {
	Norm Value // weight of the RMSNorm [In]
	T, B Value // of adapters: t [R,pieces*Dim] float32, b [rows of w,Dim]
	Bias Value // [rows of w]
	Add  Value // [R,Out]
}

// Few is the product of a few rows x [R,In] with w [Out,In], [2*Out,In] if it is gated, by a kernel: [R,Out].
func (g *Graph) Few(k kernels.Few, x, w Value, o FewOperands) Value {
	operands := []Value{x}
	add := func(values ...Value) {
		for _, v := range values {
			if v.Valid() {
				operands = append(operands, v)
			}
		}
	}
	add(o.Norm, w, o.T, o.B, o.Bias, o.Add)
	out := bfloat(k.Rows, k.Out)
	if k.Wide {
		out = device.MakeShape(dtypes.Float32, k.Rows, k.Out)
	}
	return g.Kernel(k.Call(), operands, out)[0]
}

// CachedAttention is the attention of one query per text, by kernels: q, k and v side by side [R,(H+2K)E], cosine and sine
// [R,Turned/2] float32, places [R] int32; keys and values [R,K,C,E] are given up, and come back with the query's own.
func (g *Graph) CachedAttention(k kernels.Cached, qkv, cosine, sine, places, keys, values Value) (o, newKeys, newValues Value) {
	cache := bfloat(k.Rows, k.KV, k.Capacity, k.Width)
	parts := k.Parts()
	out := g.kernelIn(k.Call(), []int{4, 5}, []Value{qkv, cosine, sine, places, keys, values}, cache, cache, device.MakeShape(dtypes.Float32, parts[:]...))
	o = g.Kernel(k.Joined(), out[2:], bfloat(k.Rows, k.Heads*k.Width))[0]
	return o, out[0], out[1]
}
