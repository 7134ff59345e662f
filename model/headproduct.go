package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// The products with the head in the loss: in the compute dtype or, with Config.Head8, in 8-bit floats. Then the hidden states of
// all rows are rounded at once, and the gradient by logits, none of which is greater than 1, has a fixed unit.

// headParams are the parameters of the root group that scores take.
func (r root) headParams() Group { return r.params(r.norm, r.head) }

// lossParams are the indexes of those that the loss takes.
func (r root) lossParams() []int {
	if h := r.head8; h.out > 0 {
		return []int{r.norm, h.weight, h.turned, h.unit}
	}
	return []int{r.norm, r.head}
}

func (r root) params(indexes ...int) Group {
	g := Group{Name: r.group.Name}
	for _, i := range indexes {
		g.Params = append(g.Params, r.group.Params[i])
	}
	return g
}

// hidden is the norm of the rows, as products with the head take it [N,D].
func (a *lossArgs) hidden() hlo.Value {
	if !a.narrow {
		return a.norm(a.xND, 0)
	}
	f := a.emit.narrow(a.normed(a.xND, 0), hlo.E4M3)
	a.unit = f.Unit
	return f.Value
}

// product is that of hidden states [C,D] and the head [C,V], in the dtype of products.
func (a lossArgs) product(g *hlo.Graph, hCD hlo.Value) hlo.Value {
	if a.narrow {
		hCD = g.Widen(hlo.Float8{Value: hCD, Unit: a.unit}, a.cfg.Compute)
	}
	return g.Product(hCD, 1, a.head, 1, a.cfg.products())
}

// productBackward is the gradient of hidden states, dl [C,V] being what slope gives [C,D] float32.
func (a lossArgs) productBackward(g *hlo.Graph, dl hlo.Value) hlo.Value {
	if !a.narrow {
		return g.NN(dl, a.head)
	}
	wide := g.Widen(hlo.Float8{Value: dl, Unit: g.Const(dtypes.Float32, hlo.SlopeUnit)}, a.cfg.Compute)
	return g.F32(g.Product(wide, 1, a.back, 1, a.cfg.products()))
}

// unrolled is overChunks of c rows without a loop, into which XLA would not see: it makes an FP8 product of a product of
// what it sees widened.
func (a lossArgs) unrolled(hND hlo.Value, c int, body func(g *hlo.Graph, h, labels hlo.Value) (outs, sums []hlo.Value)) (outs, sums []hlo.Value) {
	var parts [][]hlo.Value
	for at := 0; at < hND.Dim(0); at += c {
		o, s := body(a.Graph, a.Slice(hND, 0, at, at+c), a.Slice(a.labels, 0, at, at+c))
		if parts == nil {
			parts, sums = make([][]hlo.Value, len(o)), s
		} else {
			for j := range s {
				sums[j] = a.Add(sums[j], s[j])
			}
		}
		for j := range o {
			parts[j] = append(parts[j], o[j])
		}
	}
	for _, p := range parts {
		outs = append(outs, a.Concat(0, p...))
	}
	return outs, sums
}
