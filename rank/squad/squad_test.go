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
		// Corners in which Python's lower(), split() and \b differ from Go's nearest; the values are the official script's.
		{"\u039f\u0394\u039f\u03a3", []string{"\u03bf\u03b4\u03bf\u03c2"}, 1, 1}, // a final sigma
		{"\u0130stanbul", []string{"i\u0307stanbul"}, 1, 1},                      // dotted capital I
		{"x\x1cy", []string{"x y"}, 1, 1},                                        // a separator is a space
		{"x\u00a0y\u2028z\u0085w", []string{"x y z w"}, 1, 1},                    // so are these
		{"x\u200bthe", []string{"x\u200b"}, 1, 1},                                // a zero-width space is none, but ends a word
		{"the_x", []string{"x"}, 0, 0},                                           // "_" goes as punctuation: "thex"
		{"\u201cthe\u201d", []string{"\u201c\u201d"}, 0, 0},                      // only ASCII punctuation goes
		{"2\u00b2a", []string{"2\u00b2"}, 0, 0},                                  // a raised 2 is part of the word
		{"a\u0301", []string{"\u0301"}, 1, 1},                                    // a mark is not: "a" is an article
		{"Stra\u00dfe", []string{"STRASSE"}, 0, 0},                               // lower case, not folded
		{"a an the", []string{"", "x"}, 1, 0},                                    // nothing left equals nothing left
		{"one two two", []string{"two two three", "two"}, 0, 2.0 / 3},            // words count as often as they come
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
