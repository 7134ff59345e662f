package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before the model sees it.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"` // found in the normalised text
	Special    bool   `json:"special"`
}

// addedTokens finds added tokens: leftmost first, the longest of those.
type addedTokens struct {
	byFirst [2]map[byte][]addedToken // not normalised, normalised; longest first
	special map[int32]bool
	all     map[int32]string
}

// newAddedTokens takes the normalisers because a token that is found in normalised text is itself normalised first.
func newAddedTokens(list []addedToken, normalize []normalizer) addedTokens {
	a := addedTokens{special: map[int32]bool{}, all: map[int32]string{}}
	for i := range a.byFirst {
		a.byFirst[i] = map[byte][]addedToken{}
	}
	for _, t := range list {
		a.all[t.ID] = t.Content
		if t.Special {
			a.special[t.ID] = true
		}
		if t.Content == "" {
			continue
		}
		which := 0
		if t.Normalized {
			which = 1
			s := plain(t.Content)
			for _, n := range normalize {
				s = n(s)
			}
			if t.Content = s.text; t.Content == "" {
				continue
			}
		}
		m := a.byFirst[which]
		m[t.Content[0]] = append(m[t.Content[0]], t)
	}
	for _, m := range a.byFirst {
		for _, l := range m {
			slices.SortStableFunc(l, func(x, y addedToken) int { return len(y.Content) - len(x.Content) })
		}
	}
	return a
}

// piece is a run of text, or, with an id, an added token in it.
type piece struct {
	span
	id int32 // -1 = text
}

// cut splits a text at the added tokens of one kind.
func (a addedTokens) cut(s span, normalized bool) []piece {
	m := a.byFirst[0]
	if normalized {
		m = a.byFirst[1]
	}
	var out []piece
	text := func(lo, hi int) {
		if lo < hi {
			out = append(out, piece{s.slice(lo, hi), -1})
		}
	}
	from := 0
	for i := 0; i < len(s.text); {
		t, ok := find(m[s.text[i]], s.text, i)
		if !ok {
			i++
			continue
		}
		lo, hi := i, i+len(t.Content)
		if t.LStrip {
			lo = from + len(strings.TrimRightFunc(s.text[from:lo], unicode.IsSpace))
		}
		if t.RStrip {
			hi = len(s.text) - len(strings.TrimLeftFunc(s.text[hi:], unicode.IsSpace))
		}
		text(from, lo)
		out = append(out, piece{s.slice(lo, hi), t.ID})
		from, i = hi, hi
	}
	text(from, len(s.text))
	return out
}

func find(list []addedToken, text string, at int) (addedToken, bool) {
	for _, t := range list {
		if !strings.HasPrefix(text[at:], t.Content) {
			continue
		}
		if t.SingleWord {
			before, _ := utf8.DecodeLastRuneInString(text[:at])
			after, _ := utf8.DecodeRuneInString(text[at+len(t.Content):])
			if at > 0 && isWord(before) || at+len(t.Content) < len(text) && isWord(after) {
				continue
			}
		}
		return t, true
	}
	return addedToken{}, false
}

func isWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
