package model

import (
	"github.com/gomlx/compute/dtypes"

	"gorun/model/hlo"
)

// routing is which experts each token goes through, and how much each of them counts. All of it is float32.
type routing struct {
	probs hlo.Value // of the experts [T,E]
	picks []pick    // the likeliest, one after the other
	sum   hlo.Value // of the picks' probabilities [T]
	h     hlo.Value // what the router was given [T,D], float32
}

// pick is one expert of every token.
type pick struct {
	hot    hlo.Value // which [T,E] bool
	weight hlo.Value // what its result is multiplied by [T]
}

// route scores the experts for h [T,D] and picks the likeliest; of equally likely ones the first.
func (m mixture) route(e *emit, h hlo.Value) routing {
	r := routing{h: e.F32(h)}
	logits := e.NT(r.h, e.F32(e.w[m.router]))
	p := e.Exp(e.Sub(logits, e.Like(e.MaxOver(logits, 1), logits, 0)))
	r.probs = e.Div(p, e.Like(e.Sum(p, 1), p, 0))
	place := e.Iota(dtypes.Int32, 1, p.Dims()...)
	left := r.probs
	for range m.top {
		best := e.MaxOver(left, 1)
		// The first of the best is the last when counted from the end.
		first := e.MaxOver(e.Select(e.Compare(left, "==", e.Like(best, left, 0)), e.Sub(e.int(m.experts), place), e.int(0)), 1)
		hot := e.Compare(e.Sub(e.int(m.experts), place), "==", e.Like(first, place, 0))
		left = e.Select(hot, e.Const(dtypes.Float32, -1), left)
		r.picks = append(r.picks, pick{hot, best})
	}
	if m.normalize {
		r.sum = r.picks[0].weight
		for _, p := range r.picks[1:] {
			r.sum = e.Add(r.sum, p.weight)
		}
		for i := range r.picks {
			r.picks[i].weight = e.Div(r.picks[i].weight, r.sum)
		}
	}
	return r
}

// chosen is 1 where an expert is among a token's picks, else 0 [T,E].
func (r routing) chosen(e *emit) hlo.Value {
	chosen := e.Full(dtypes.Float32, 0, r.probs.Dims()...)
	for _, p := range r.picks {
		chosen = e.Select(p.hot, e.Const(dtypes.Float32, 1), chosen)
	}
	return chosen
}

// routeBackward turns the gradients of the picks' weights [T] into that of h [T,D] float32, through the probabilities of
// the experts that were picked: which were is constant. With w_k = p_k/sum(p), dp_k = (dw_k - sum(dw w))/sum(p); and with
// p = softmax(l), dl = p (dp - sum(dp p)). It records the router's gradient in full fine-tuning.
func (m mixture) routeBackward(e *emit, r routing, dWeights []hlo.Value) hlo.Value {
	if m.normalize {
		mean := e.Mul(dWeights[0], r.picks[0].weight)
		for i, p := range r.picks[1:] {
			mean = e.Add(mean, e.Mul(dWeights[i+1], p.weight))
		}
		for i, dw := range dWeights {
			dWeights[i] = e.Div(e.Sub(dw, mean), r.sum)
		}
	}
	dp := e.Full(dtypes.Float32, 0, r.probs.Dims()...)
	for i, p := range r.picks {
		dp = e.Select(p.hot, e.Like(dWeights[i], dp, 0), dp)
	}
	if e.push.Valid() {
		dp = e.Add(dp, e.Mul(e.Like(e.counted, dp, 0), e.Like(e.push, dp, 1)))
	}
	dl := e.Mul(r.probs, e.Sub(dp, e.Like(e.Sum(e.Mul(dp, r.probs), 1), dp, 0)))
	if e.cfg.Full {
		e.grad(m.router, e.TN(dl, r.h))
	}
	return e.NN(dl, e.F32(e.w[m.router]))
}
