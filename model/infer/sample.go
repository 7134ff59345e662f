package infer

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Sampling says how the next token is picked. The zero value is greedy.
type Sampling struct {
	Temperature float64 // 0 = greedy
	TopK        int     // keep the K likeliest; 0 = all
	TopP        float64 // keep the likeliest whose probabilities add up to P; 0 or 1 = all
	Seed        uint64
}

// Validate reports every setting that makes no sense.
func (s Sampling) Validate() error {
	switch {
	case s.Temperature < 0 || math.IsNaN(s.Temperature) || math.IsInf(s.Temperature, 0):
		return fmt.Errorf("temperature %g: use 0 (greedy) or more", s.Temperature)
	case s.TopK < 0:
		return fmt.Errorf("top-k %d: use 0 (all) or more", s.TopK)
	case s.TopP < 0 || s.TopP > 1 || math.IsNaN(s.TopP):
		return fmt.Errorf("top-p %g: use a probability between 0 and 1", s.TopP)
	}
	return nil
}

// Token is a vocabulary entry with its log-probability.
type Token struct {
	ID      int32
	LogProb float64
}

// logSumExp of a row of logits, in float64.
func logSumExp(logits []float32) float64 {
	top := float64(slices.Max(logits))
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - top)
	}
	return top + math.Log(sum)
}

// likeliest returns the n likeliest tokens, best first; ties go to the smaller id.
func likeliest(logits []float32, n int) []Token {
	n = min(n, len(logits))
	if n <= 0 {
		return nil
	}
	lse := logSumExp(logits)
	var best []Token
	for id, l := range logits {
		if len(best) == n && float64(l)-lse <= best[n-1].LogProb {
			continue
		}
		t := Token{int32(id), float64(l) - lse}
		at, _ := slices.BinarySearchFunc(best, t, func(a, b Token) int {
			if a.LogProb != b.LogProb {
				return cmp.Compare(b.LogProb, a.LogProb)
			}
			return cmp.Compare(a.ID, b.ID)
		})
		if len(best) == n {
			best = best[:n-1]
		}
		best = slices.Insert(best, at, t)
	}
	return best
}

// pick chooses the next token from a row of logits; its log-probability is that of the model, before temperature.
func (s Sampling) pick(logits []float32, rng *rand.Rand) Token {
	if s.Temperature == 0 {
		return likeliest(logits, 1)[0]
	}
	// Temperature, then top-k, then top-p over what is left: the order of transformers' logits warpers.
	order := make([]int32, len(logits))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if logits[a] != logits[b] {
			return cmp.Compare(logits[b], logits[a])
		}
		return cmp.Compare(a, b)
	})
	if s.TopK > 0 {
		order = order[:min(s.TopK, len(order))]
	}
	top := float64(logits[order[0]])
	p := make([]float64, len(order))
	total := 0.0
	for i, id := range order {
		p[i] = math.Exp((float64(logits[id]) - top) / s.Temperature)
		total += p[i]
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept := 0.0
		for i := range p {
			kept += p[i]
			if kept >= s.TopP*total {
				order, p, total = order[:i+1], p[:i+1], kept
				break
			}
		}
	}
	at, u := 0, rng.Float64()*total
	for ; at < len(p)-1 && u >= p[at]; at++ {
		u -= p[at]
	}
	id := order[at]
	return Token{id, float64(logits[id]) - logSumExp(logits)}
}
