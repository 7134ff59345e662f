package data

import (
	"fmt"
	"math/rand/v2"
)

// mockSeed makes every mock data set of the same sizes the same.
const mockSeed = 1

// mock writes n samples of seq random ids below vocab, every one of them predicting the next: the work of a benchmark.
func mock(w *tokenWriter, n, seq, vocab int) error {
	if vocab < 1 {
		return fmt.Errorf("dataset.vocab_size: %d ids to choose from: give at least 1", vocab)
	}
	rng := rand.New(rand.NewPCG(mockSeed, 1))
	for i := range max(1, n) {
		tokens, trained := make([]int32, seq+1), make([]bool, seq+1)
		for t := range tokens {
			tokens[t], trained[t] = int32(rng.IntN(vocab)), true
		}
		if err := w.add(shifted(tokens, trained, fmt.Sprintf("mock:%d", i))); err != nil {
			return err
		}
	}
	return nil
}
