package infer

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestLikeliest(t *testing.T) {
	got := likeliest([]float32{1, 3, 2, 3, -5}, 3)
	if len(got) != 3 || got[0].ID != 1 || got[1].ID != 3 || got[2].ID != 2 {
		t.Fatalf("got %v", got)
	}
	sum := 0.0
	for _, k := range likeliest([]float32{1, 3, 2, 3, -5}, 10) {
		sum += math.Exp(k.LogProb)
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("probabilities add up to %g", sum)
	}
}

// TestPick compares the frequencies of draws with the probabilities that the settings leave.
func TestPick(t *testing.T) {
	logits := []float32{0, 1, 2, 3}
	p := func(temp float64, ids ...int) []float64 {
		out, total := make([]float64, 4), 0.0
		for _, i := range ids {
			out[i] = math.Exp(float64(logits[i]) / temp)
			total += out[i]
		}
		for i := range out {
			out[i] /= total
		}
		return out
	}
	for name, c := range map[string]struct {
		s    Sampling
		want []float64
	}{
		"greedy":        {Sampling{}, p(1, 3)},
		"temperature":   {Sampling{Temperature: 2}, p(2, 0, 1, 2, 3)},
		"top-k":         {Sampling{Temperature: 1, TopK: 2}, p(1, 2, 3)},
		"top-p":         {Sampling{Temperature: 1, TopP: 0.8}, p(1, 2, 3)},
		"top-k + top-p": {Sampling{Temperature: 1, TopK: 3, TopP: 0.9}, p(1, 2, 3)},
	} {
		rng := rand.New(rand.NewPCG(7, 8))
		const n = 20000
		count := make([]float64, 4)
		for range n {
			count[c.s.pick(logits, rng).ID]++
		}
		for i := range count {
			if math.Abs(count[i]/n-c.want[i]) > 0.015 {
				t.Errorf("%s: token %d drawn %.3f of the time, want %.3f", name, i, count[i]/n, c.want[i])
			}
		}
	}
	if (Sampling{TopP: 1.5}).Validate() == nil || (Sampling{Temperature: -1}).Validate() == nil || (Sampling{TopK: -1}).Validate() == nil {
		t.Error("nonsense settings pass")
	}
}
