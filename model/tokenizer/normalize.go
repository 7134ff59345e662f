package tokenizer

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites a piece of text, keeping track of where its bytes come from.
type normalizer func(span) span

// pattern is a string or a regular expression, as tokenizer.json writes it.
type pattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

var normalizers = kinds[normalizer]{
	"NFC": fixed(unicodeForm(norm.NFC)), "NFD": fixed(unicodeForm(norm.NFD)), "NFKC": fixed(unicodeForm(norm.NFKC)), "NFKD": fixed(unicodeForm(norm.NFKD)),
	"Lowercase": fixed(normalizer(lower)), "Prepend": parsePrepend, "Strip": parseStrip, "Replace": parseReplace,
}

func parseNormalizers(raw json.RawMessage) ([]normalizer, error) {
	return normalizers.parse(raw, "normalizer", "normalizers")
}

// lower takes each character on its own, as tokenizers does.
func lower(s span) span {
	r := rewrite(s)
	for i, c := range s.text {
		r.put(strings.ToLower(string(c)), i, i+utf8.RuneLen(c))
	}
	return r.done()
}

func parsePrepend(raw json.RawMessage) ([]normalizer, error) {
	var c struct {
		Prepend string `json:"prepend"`
	}
	err := json.Unmarshal(raw, &c)
	return []normalizer{func(s span) span { return prepend(s, c.Prepend) }}, err
}

func parseStrip(raw json.RawMessage) ([]normalizer, error) {
	var c struct {
		Left  bool `json:"strip_left"`
		Right bool `json:"strip_right"`
	}
	err := json.Unmarshal(raw, &c)
	return []normalizer{func(s span) span {
		lo, hi := 0, len(s.text)
		if c.Left {
			lo = hi - len(strings.TrimLeftFunc(s.text, unicode.IsSpace))
		}
		if c.Right {
			hi = len(strings.TrimRightFunc(s.text, unicode.IsSpace))
		}
		return s.slice(min(lo, hi), hi)
	}}, err
}

func parseReplace(raw json.RawMessage) ([]normalizer, error) {
	var c struct {
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	find, err := c.Pattern.finder()
	return []normalizer{func(s span) span { return replace(s, find, c.Content) }}, err
}

// replace puts content in the place of everything that is found; it comes from what it replaces.
func replace(s span, find finder, content string) span {
	r, at := rewrite(s), 0
	for _, m := range find(s.text) {
		r.keep(at, m[0])
		r.put(content, m[0], m[1])
		at = m[1]
	}
	if at == 0 && len(r.buf) == 0 {
		return s
	}
	r.keep(at, len(s.text))
	return r.done()
}

// prepend puts prefix before a text that is not empty; it comes from the text's first character.
func prepend(s span, prefix string) span {
	if s.text == "" {
		return s
	}
	r := rewrite(s)
	_, n := utf8.DecodeRuneInString(s.text)
	r.put(prefix, 0, n)
	r.keep(0, len(s.text))
	return r.done()
}

// unicodeForm normalises between the boundaries that the form allows, so that offsets stay close.
func unicodeForm(f norm.Form) normalizer {
	return func(s span) span {
		if f.IsNormalString(s.text) {
			return s
		}
		r := rewrite(s)
		for lo := 0; lo < len(s.text); {
			n := f.NextBoundaryInString(s.text[lo:], true)
			if n <= 0 {
				n = len(s.text) - lo
			}
			if part := s.text[lo : lo+n]; f.IsNormalString(part) {
				r.keep(lo, lo+n)
			} else {
				r.put(f.String(part), lo, lo+n)
			}
			lo += n
		}
		return r.done()
	}
}
