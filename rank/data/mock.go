package data

import (
	"fmt"
	"math/rand/v2"
)

// mockSeed makes every mock data set of the same sizes the same.
const mockSeed = 1

// mock writes n samples of random ids below vocab, every one of them predicting the next: the work of a benchmark. They have
// seq tokens or, unless shortest is 0, from so many to that, all lengths being equally many.
func mock(w *tokenWriter, n, shortest, seq, vocab int) error {
	if vocab < 1 {
		return fmt.Errorf("dataset.vocab_size: %d ids to choose from: give at least 1", vocab)
	}
	rng := rand.New(rand.NewPCG(mockSeed, 1))
	n = max(1, n)
	for i := range n {
		length := seq
		if shortest > 0 && n > 1 {
			length = shortest + (seq-shortest)*i/(n-1)
		}
		tokens, trained := make([]int32, length+1), make([]bool, length+1)
		for t := range tokens {
			tokens[t], trained[t] = int32(rng.IntN(vocab)), true
		}
		if err := w.add(shifted(tokens, trained, fmt.Sprintf("mock:%d", i))); err != nil {
			return err
		}
	}
	return nil
}
