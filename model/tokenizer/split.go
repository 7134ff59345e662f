package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// splitter cuts pieces into smaller ones, which the model then sees one by one.
type splitter interface{ apply([]span) []span }

// finder lists the places of a pattern in a text, in order and without overlap, as byte offsets.
type finder func(text string) [][2]int

func (p pattern) finder() (finder, error) {
	switch {
	case p.String != nil && *p.String != "":
		return func(text string) (out [][2]int) {
			for at := 0; ; {
				i := strings.Index(text[at:], *p.String)
				if i < 0 {
					return out
				}
				out = append(out, [2]int{at + i, at + i + len(*p.String)})
				at += i + len(*p.String)
			}
		}, nil
	case p.Regex != nil:
		return regexFinder(*p.Regex)
	}
	return nil, errors.New("a pattern is neither a string nor a regular expression")
}

// regexFinder compiles an expression in the dialect of tokenizer.json (Oniguruma's), which has look-ahead.
func regexFinder(expr string) (finder, error) {
	re, err := regexp2.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	return func(text string) (out [][2]int) {
		// An error can only be a limit on backtracking that we do not set.
		matches, _ := re.FindAllStringIndex(text, -1)
		for _, m := range matches {
			if m[0] < m[1] {
				out = append(out, [2]int{m[0], m[1]})
			}
		}
		return out
	}, nil
}

// cutter splits by the matches of a pattern.
type cutter struct {
	find     finder
	behavior string
	invert   bool
}

func (c cutter) apply(in []span) (out []span) {
	for _, s := range in {
		for _, r := range c.cut(s.text) {
			if r[0] < r[1] {
				out = append(out, s.slice(r[0], r[1]))
			}
		}
	}
	return out
}

// cut lists the pieces of a text; removed ones are left out.
func (c cutter) cut(text string) (out [][2]int) {
	type part struct {
		lo, hi int
		match  bool
	}
	var parts []part
	at := 0
	for _, m := range c.find(text) {
		if at < m[0] {
			parts = append(parts, part{at, m[0], c.invert})
		}
		parts = append(parts, part{m[0], m[1], !c.invert})
		at = m[1]
	}
	if at < len(text) {
		parts = append(parts, part{at, len(text), c.invert})
	}
	join := false // the next piece is joined to the one before
	for i, p := range parts {
		attach := false
		switch c.behavior {
		case "Removed":
			if p.match {
				continue
			}
		case "MergedWithPrevious":
			attach = p.match && i > 0 && !parts[i-1].match
		case "MergedWithNext":
			attach, join = join, p.match
			if p.match {
				attach = false
			}
		case "Contiguous":
			attach = i > 0 && parts[i-1].match == p.match
		}
		if attach {
			out[len(out)-1][1] = p.hi
		} else {
			out = append(out, [2]int{p.lo, p.hi})
		}
	}
	return out
}

// byteLevel only adds the space before the first word; the bytes are the model's business.
type byteLevel struct{ addPrefixSpace bool }

func (b byteLevel) apply(in []span) []span {
	if !b.addPrefixSpace {
		return in
	}
	out := make([]span, len(in))
	for i, s := range in {
		if out[i] = s; !strings.HasPrefix(s.text, " ") {
			out[i] = prepend(s, " ")
		}
	}
	return out
}

// metaspace writes spaces as a visible mark, and may put one before a text and cut before each.
type metaspace struct {
	mark   string
	scheme string // "always", "first" or "never"
	split  bool
}

func (m metaspace) apply(in []span) (out []span) {
	for _, s := range in {
		r := rewrite(s)
		for i, c := range s.text {
			if c == ' ' {
				r.put(m.mark, i, i+1)
			} else {
				r.keep(i, i+utf8.RuneLen(c))
			}
		}
		w := r.done()
		if (m.scheme == "always" || m.scheme == "first" && s.first) && !strings.HasPrefix(w.text, m.mark) {
			w = prepend(w, m.mark)
		}
		if !m.split {
			out = append(out, w)
			continue
		}
		c := cutter{behavior: "MergedWithNext"}
		c.find, _ = pattern{String: &m.mark}.finder()
		out = append(out, c.apply([]span{w})...)
	}
	return out
}

// runes finds single characters of a class.
func runes(class func(rune) bool) finder {
	return func(text string) (out [][2]int) {
		for i, c := range text {
			if class(c) {
				out = append(out, [2]int{i, i + utf8.RuneLen(c)})
			}
		}
		return out
	}
}

func isPunctuation(c rune) bool {
	return unicode.IsPunct(c) || c < utf8.RuneSelf && strings.ContainsRune("$+<=>^`|~", c)
}
