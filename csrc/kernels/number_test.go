package kernels

import (
	"strconv"
	"strings"
	"testing"
)

// TestNumber: a constant in a kernel's text is the float32 that the program beside it computes with, to the bit.
func TestNumber(t *testing.T) {
	for _, v := range []float64{1.0 / 3, 0.1, 0.9, 1 - 0.999, 1e-8, 16777217, 0.10206207261596577, 0, -2} {
		text := number(v)
		digits, ok := strings.CutSuffix(text, "f")
		got, err := strconv.ParseFloat(digits, 32)
		if !ok || err != nil || float32(got) != float32(v) {
			t.Errorf("%g is written %s, which is %g", float32(v), text, float32(got))
		}
	}
}
