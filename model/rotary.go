package model

import (
	"math"

	"gorun/model/spec"
)

// RotaryTable returns cosine and sine of position*frequency for positions 0..seq-1, row-major [seq, Dim/2], with the
// frequencies for sequences of length tokens. As in transformers, the angle is rounded to float32 before its cosine is
// taken.
func RotaryTable(r spec.Rope, seq, length int) (cos, sin []float32) {
	inv, scale := r.InvFreq(length)
	cos, sin = make([]float32, 0, seq*len(inv)), make([]float32, 0, seq*len(inv))
	for p := range seq {
		for _, f := range inv {
			s, c := math.Sincos(float64(float32(p) * f))
			cos = append(cos, float32(c)*scale)
			sin = append(sin, float32(s)*scale)
		}
	}
	return cos, sin
}

// lengthUnit is what a length beyond the trained one is rounded up to where frequencies follow it: as rows are padded
// anyway, and the documents of packed rows have every length, tables would else be many.
const lengthUnit = 256

// ropeLength is the length whose frequencies sequences of n tokens are given: 0 where they do not depend on it.
func ropeLength(r spec.Rope, n int) int {
	switch {
	case n <= r.OriginalMaxPositions:
		return 0
	case r.Kind == "longrope":
		return r.OriginalMaxPositions + 1
	case r.Kind == "dynamic":
		return (n + lengthUnit - 1) / lengthUnit * lengthUnit
	}
	return 0
}
