package tokenizer

import (
	"encoding/json"
	"fmt"
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

func parseNormalizers(raw json.RawMessage) ([]normalizer, error) {
	if isNull(raw) {
		return nil, nil
	}
	var c struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
		Prepend     string            `json:"prepend"`
		Pattern     pattern           `json:"pattern"`
		Content     string            `json:"content"`
		Left        bool              `json:"strip_left"`
		Right       bool              `json:"strip_right"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	one := func(n normalizer) ([]normalizer, error) { return []normalizer{n}, nil }
	switch c.Type {
	case "Sequence":
		var out []normalizer
		for _, r := range c.Normalizers {
			n, err := parseNormalizers(r)
			if err != nil {
				return nil, err
			}
			out = append(out, n...)
		}
		return out, nil
	case "NFC":
		return one(unicodeForm(norm.NFC))
	case "NFD":
		return one(unicodeForm(norm.NFD))
	case "NFKC":
		return one(unicodeForm(norm.NFKC))
	case "NFKD":
		return one(unicodeForm(norm.NFKD))
	case "Lowercase":
		return one(func(s span) span {
			r := rewrite(s)
			for i, c := range s.text {
				r.put(strings.ToLower(string(c)), i, i+utf8.RuneLen(c))
			}
			return r.done()
		})
	case "Prepend":
		return one(func(s span) span { return prepend(s, c.Prepend) })
	case "Strip":
		return one(func(s span) span {
			lo, hi := 0, len(s.text)
			if c.Left {
				lo = hi - len(strings.TrimLeftFunc(s.text, unicode.IsSpace))
			}
			if c.Right {
				hi = len(strings.TrimRightFunc(s.text, unicode.IsSpace))
			}
			return s.slice(min(lo, hi), hi)
		})
	case "Replace":
		find, err := c.Pattern.finder()
		if err != nil {
			return nil, fmt.Errorf("normalizer Replace: %w", err)
		}
		return one(func(s span) span {
			r, at := rewrite(s), 0
			for _, m := range find(s.text) {
				r.keep(at, m[0])
				r.put(c.Content, m[0], m[1])
				at = m[1]
			}
			if at == 0 && len(r.buf) == 0 {
				return s
			}
			r.keep(at, len(s.text))
			return r.done()
		})
	}
	return nil, fmt.Errorf("normalizer %q is not one that gorun knows", c.Type)
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
