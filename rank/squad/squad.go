// Package squad scores answers by the official rules of SQuAD v1.1: exact match and F1 over words, after lower-casing
// and dropping punctuation and articles, the best over all gold answers.
package squad

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// normalise is normalize_answer of the official script: lower case, no ASCII punctuation, no articles, single spaces.
// Lower case is Unicode's full mapping, as in Python: a final sigma is not an inner one.
func normalise(s string) []string {
	lower := cases.Lower(language.Und).String(s)
	lower = strings.Map(func(r rune) rune {
		if r < 128 && strings.ContainsRune(punctuation, r) {
			return -1
		}
		return r
	}, lower)
	return strings.FieldsFunc(dropArticles(lower), space)
}

// space tells whether Python's split() splits at r: Unicode's white space and ASCII's four separators.
func space(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// dropArticles removes a, an and the where they stand as whole words, as the regular expression \b(a|an|the)\b does.
func dropArticles(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i := 0; i < len(runes); {
		if !word(runes[i]) {
			b.WriteRune(runes[i])
			i++
			continue
		}
		j := i
		for j < len(runes) && word(runes[j]) {
			j++
		}
		switch w := string(runes[i:j]); w {
		case "a", "an", "the":
			b.WriteByte(' ')
		default:
			b.WriteString(w)
		}
		i = j
	}
	return b.String()
}

// word tells whether r is a word character of a Unicode regular expression.
func word(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsNumber(r)
}

// Score returns exact match (0 or 1) and F1 (0 to 1) of a prediction, each the best over the gold answers.
func Score(prediction string, golds []string) (em, f1 float64) {
	p := normalise(prediction)
	for _, gold := range golds {
		g := normalise(gold)
		if slices.Equal(p, g) {
			em = 1
		}
		f1 = max(f1, overlap(p, g))
	}
	return em, f1
}

// overlap is the F1 of two bags of words, 0 when they share none (the official v1.1 script, which also gives 0 to two
// empty ones).
func overlap(p, g []string) float64 {
	left := map[string]int{}
	for _, w := range g {
		left[w]++
	}
	same := 0
	for _, w := range p {
		if left[w] > 0 {
			left[w]--
			same++
		}
	}
	if same == 0 {
		return 0
	}
	precision, recall := float64(same)/float64(len(p)), float64(same)/float64(len(g))
	return 2 * precision * recall / (precision + recall)
}

// Answer is the answer in a generated text: its first line that is not empty, trimmed.
func Answer(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}
