package squad

import (
	"math"
	"testing"
)

func TestScore(t *testing.T) {
	for _, c := range []struct {
		prediction string
		golds      []string
		em, f1     float64
	}{
		{"Denver Broncos", []string{"Denver Broncos"}, 1, 1},
		{"the Denver broncos.", []string{"Denver Broncos"}, 1, 1},
		{"Broncos", []string{"Denver Broncos"}, 0, 2.0 / 3},
		{"Broncos", []string{"Denver Broncos", "Broncos"}, 1, 1},
		{"a cat and a dog", []string{"the cat and dog"}, 1, 1},
		{"theatre", []string{"the atre"}, 0, 0},
		{"well-known", []string{"wellknown"}, 1, 1},
		{"in 1990 in May", []string{"in May 1990"}, 0, 2 * (3.0 / 4) * 1 / (3.0/4 + 1)},
		{"", []string{"x"}, 0, 0},
		{"the", []string{"an"}, 1, 0},
		{"x", nil, 0, 0},
		{"caf\u00e9 the", []string{"Caf\u00e9"}, 1, 1},
	} {
		em, f1 := Score(c.prediction, c.golds)
		if em != c.em || math.Abs(f1-c.f1) > 1e-12 {
			t.Errorf("%q against %q: EM %g F1 %g, want %g %g", c.prediction, c.golds, em, f1, c.em, c.f1)
		}
	}
}

func TestAnswer(t *testing.T) {
	for text, want := range map[string]string{" Paris\nQuestion: x": "Paris", "\n\n 42 ": "42", "": ""} {
		if got := Answer(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
