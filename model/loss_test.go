package model

import "testing"

// TestChunk holds chunks of rows to dividing the rows and to the bound on logits.
func TestChunk(t *testing.T) {
	for _, target := range []Target{CPU, CUDA} {
		for _, vocab := range []int{23, 49152, 128256, 262144} {
			for valid := 1; valid < 20000; valid += 97 {
				rows := LossRows(valid)
				c := lossChunk(rows, vocab, target, false)
				if c < 1 || rows%c != 0 || c > 16 && c*vocab > maxLogits(target, false) {
					t.Fatalf("target %d: %d rows of %d logits in chunks of %d", target, rows, vocab, c)
				}
			}
		}
	}
	if c := lossChunk(8192, 128256, CUDA, false); c != 2048 {
		t.Errorf("8192 rows of Llama 3's vocabulary in chunks of %d, want 2048", c)
	}
	if c := lossChunk(8192, 128256, CUDA, true); c != 8192 {
		t.Errorf("8192 rows of Llama 3's vocabulary, with a head in 8-bit floats, in chunks of %d, want one", c)
	}
}
