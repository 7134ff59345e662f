package data

import (
	"fmt"
	"math/rand/v2"
)

// mockSeed makes every mock data set of the same sizes the same.
const mockSeed = 1

// mock makes n samples of random ids below vocab, every one of them predicting the next: the work of a benchmark. They have
// seq tokens or, unless shortest is 0, from so many to that, all lengths being equally many.
func mock(n, shortest, seq, vocab int) (*Dataset, error) {
	if vocab < 1 {
		return nil, fmt.Errorf("dataset.vocab_size: %d ids to choose from: give at least 1", vocab)
	}
	d := &Dataset{Samples: make([]Sample, max(1, n))}
	rng := rand.New(rand.NewPCG(mockSeed, 1))
	for i := range d.Samples {
		length := seq
		if shortest > 0 && len(d.Samples) > 1 {
			length = shortest + (seq-shortest)*i/(len(d.Samples)-1)
		}
		tokens, trained := make([]int32, length+1), make([]bool, length+1)
		for t := range tokens {
			tokens[t], trained[t] = int32(rng.IntN(vocab)), true
		}
		d.Samples[i] = shifted(tokens, trained, fmt.Sprintf("mock:%d", i))
	}
	return d, nil
}
