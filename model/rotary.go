package model

import (
	"math"

	"gorun/model/spec"
)

// RotaryTable returns cosine and sine of position*frequency for positions 0..seq-1, row-major [seq, Dim/2]. As in
// transformers, the angle is rounded to float32 before its cosine is taken.
func RotaryTable(r spec.Rope, seq int) (cos, sin []float32) {
	inv, scale := r.InvFreq(seq)
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
