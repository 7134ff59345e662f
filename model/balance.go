package model

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"

	"gorun/csrc/device"
	"gorun/model/hlo"
)

// The auxiliary loss that keeps a router's choices even (Fedus et al. 2021, arXiv:2101.03961, section 2.2, as transformers
// computes it): over all layers with experts together, R tokens in all, N_e of them sent to expert e, and P_e the sum of its
// probabilities, it is E * sum over e of N_e/R * P_e/R. It is of a micro-batch, and counts in the loss as much as each of
// its valid tokens does. Tokens after the last of a row that is trained on fill the row up, and count nowhere.
//
// What layers have sent where is known when the forward pass is over: a block's program returns it, a small program turns it
// into the loss and each expert's gradient by the probability of any token, and the backward programs take that.

// balanced tells whether a block's router has the auxiliary loss.
func (b block) balanced(cfg Config) bool { return b.mixture != nil && cfg.Decoder.Mixture.Balance > 0 }

// counted is 1 for the tokens of a batch that the auxiliary loss is of, else 0 [Rows*Seq], and how many these are.
func (b Batch) counted() (mask []float32, n int) {
	mask = make([]float32, len(b.Labels))
	for row := range b.Rows {
		before := n
		for i := (row+1)*b.Seq - 1; i >= row*b.Seq; i-- {
			if n > before || b.Labels[i] != ignored {
				mask[i] = 1
				n++
			}
		}
	}
	return mask, n
}

// countedTokens declares the argument of a block that is balanced: which tokens count [T].
func (b block) countedTokens(e *emit) {
	if b.balanced(e.cfg) {
		e.counted = e.Reshape(e.Input(device.MakeShape(dtypes.Float32, e.rows, e.seq)), e.tokens())
	}
}

// loads is N above P of a routing [2,E] float32.
func (r routing) loads(e *emit) hlo.Value {
	counted := e.Reshape(e.counted, 1, e.counted.Dim(0))
	return e.Concat(0, e.NN(counted, r.chosen(e)), e.NN(counted, r.probs))
}

// balance uploads what a run of a batch needs for the auxiliary loss.
func (r *Run) balance(b Batch) {
	d := r.m.cfg.Decoder
	if d.Mixture == nil || d.Mixture.Balance == 0 || r.err != nil {
		return
	}
	mask, n := b.counted()
	layers := 0
	for _, b := range r.m.blocks {
		if b.mixture != nil {
			layers++
		}
	}
	if n > 0 {
		rows := float64(n * layers)
		r.balanceFactor = d.Mixture.Balance * float64(r.valid) * float64(d.Mixture.Experts) / (rows * rows)
	}
	r.counted, r.err = device.FromSlice(r.m.dev, dtypes.Float32, mask, b.Rows, b.Seq)
}

// balancedLoss adds the auxiliary loss to a loss, which it frees, and keeps its gradients by the probabilities.
func (r *Run) balancedLoss(loss *device.Buffer) *device.Buffer {
	if len(r.loads) == 0 || r.err != nil {
		return loss
	}
	factor, err := r.m.dev.Scalar(float32(r.balanceFactor))
	if err != nil {
		r.err = err
		return loss
	}
	p, err := r.m.program(fmt.Sprint("balance ", len(r.loads)), func() (device.Source, error) {
		return buildBalance(len(r.loads), r.m.cfg.Decoder.Mixture.Experts)
	})
	out := r.execute(p, err, append([]*device.Buffer{loss, factor}, r.loads...)...)
	factor.Free()
	if r.err != nil {
		return loss
	}
	loss.Free()
	r.push = out[1]
	return out[0]
}

// buildBalance is the program: loss, factor, loads [2,E] of every layer -> loss + factor * sum of N*P, factor * N [E].
func buildBalance(layers, experts int) (device.Source, error) {
	return hlo.Build("balance", func(g *hlo.Graph) []hlo.Value {
		scalar := device.MakeShape(dtypes.Float32)
		loss, factor := g.Input(scalar), g.Input(scalar)
		sum := g.Full(dtypes.Float32, 0, 2, experts)
		for range layers {
			sum = g.Add(sum, g.Input(device.MakeShape(dtypes.Float32, 2, experts)))
		}
		n, p := g.Reshape(g.Slice(sum, 0, 0, 1), experts), g.Reshape(g.Slice(sum, 0, 1, 2), experts)
		push := g.Mul(n, factor)
		return []hlo.Value{g.Add(loss, g.Sum(g.Mul(push, p), 0)), push}
	})
}
