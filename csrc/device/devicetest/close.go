package devicetest

import (
	"math"
	"testing"
)

// The tolerances of float32 and bfloat16, as in torch.testing.
const (
	RTol32, ATol32 = 1.3e-6, 1e-5
	RTol16, ATol16 = 1.6e-2, 1e-5
)

// AssertClose fails the test unless every got[i] is within atol + rtol*|want[i]| of want[i], and shows the worst
// element: the one that exceeds its bound by the greatest factor. Values that are not finite never agree.
func AssertClose(t testing.TB, name string, got, want []float32, rtol, atol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	at, most, bad := -1, 1.0, 0
	for i, w := range want {
		excess := math.Abs(float64(got[i])-float64(w)) / (atol + rtol*math.Abs(float64(w)))
		if excess <= 1 {
			continue
		}
		bad++
		if at < 0 || !(excess <= most) {
			at, most = i, excess
		}
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d values differ; the worst, at %d: got %.9g, want %.9g (difference %.3g, allowed %.3g)", name, bad, len(want),
			at, got[at], want[at], got[at]-want[at], atol+rtol*math.Abs(float64(want[at])))
	}
}

// MaxAbs is the greatest size of a value: the scale of a tensor whose elements are sums that cancel, for a tolerance
// relative to the tensor instead of to each element.
func MaxAbs(v []float32) float64 {
	most := 0.0
	for _, f := range v {
		most = max(most, math.Abs(float64(f)))
	}
	return most
}
