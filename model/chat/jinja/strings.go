package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// stringMethods are Python's, as far as chat templates use them.
var stringMethods map[string]method[string]

func init() { // the methods call each other through the table
	one := func(f func(string) string) method[string] {
		return func(s *state, v string, c *call) any {
			c.take()
			v = f(v)
			s.made(len(v))
			return v
		}
	}
	is := func(ok func(r rune) bool) method[string] {
		return func(s *state, v string, c *call) any {
			c.take()
			s.step(len(v)/64 + 1)
			return v != "" && strings.IndexFunc(v, func(r rune) bool { return !ok(r) }) < 0
		}
	}
	stringMethods = map[string]method[string]{
		"strip":  strip(true, true),
		"lstrip": strip(true, false),
		"rstrip": strip(false, true),
		"upper":  one(upper), "lower": one(lower), "title": one(title), "capitalize": one(capitalize),
		"isspace": is(unicode.IsSpace), "isalpha": is(unicode.IsLetter), "isdigit": is(unicode.IsDigit), "isnumeric": is(unicode.IsNumber),
		"isalnum":    is(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
		"isupper":    func(_ *state, v string, _ *call) any { return v == upper(v) && v != lower(v) },
		"islower":    func(_ *state, v string, _ *call) any { return v == lower(v) && v != upper(v) },
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"removeprefix": func(_ *state, v string, c *call) any { return strings.TrimPrefix(v, c.text("prefix")[0]) },
		"removesuffix": func(_ *state, v string, c *call) any { return strings.TrimSuffix(v, c.text("suffix")[0]) },
		"replace":      func(s *state, v string, c *call) any { return s.replace(v, c) },
		"split":        splitter(false), "rsplit": splitter(true),
		"splitlines": func(s *state, v string, c *call) any { return s.splitLines(v, truth(or(c.take("keepends")[0], false))) },
		"join":       func(s *state, v string, c *call) any { return s.joinItems(c.take("iterable")[0], v, true) },
		"find":       finder(strings.Index, false), "rfind": finder(strings.LastIndex, false),
		"index": finder(strings.Index, true), "rindex": finder(strings.LastIndex, true),
		"count": func(s *state, v string, c *call) any {
			s.step(len(v)/64 + 1)
			return int64(strings.Count(v, c.text("sub")[0]))
		},
		"partition": partition(strings.Index, true), "rpartition": partition(strings.LastIndex, false),
		"zfill": func(s *state, v string, c *call) any { return s.zeroFill(v, c.take("width")[0]) },
	}
}

// text is take for parameters that must be strings.
func (c *call) text(params ...string) []string {
	var out []string
	for i, v := range c.take(params...) {
		t, ok := v.(string)
		if !ok {
			fail("%s: %s is a string, not %s", c.name, params[i], kindName(v))
		}
		out = append(out, t)
	}
	return out
}

// upper and lower map as Unicode says, where one letter may become several.
func upper(s string) string { return cases.Upper(language.Und).String(s) }

func lower(s string) string { return cases.Lower(language.Und).String(s) }

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return cases.Title(language.Und).String(s[:n]) + lower(s[n:])
}

// title makes a capital of each letter that follows none.
func title(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		was := inWord
		inWord = unicode.IsLetter(r)
		if was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

func strip(left, right bool) method[string] {
	return func(_ *state, v string, c *call) any { return trim(v, c.take("chars")[0], left, right) }
}

// trim strips characters, or white space if chars is none or not given.
func trim(v string, chars any, left, right bool) string {
	in := unicode.IsSpace
	if set, ok := chars.(string); ok {
		in = func(r rune) bool { return strings.ContainsRune(set, r) }
	} else if given(chars) && chars != nil {
		fail("the characters to strip are a string, not %s", kindName(chars))
	}
	if left {
		v = strings.TrimLeftFunc(v, in)
	}
	if right {
		v = strings.TrimRightFunc(v, in)
	}
	return v
}

func affix(has func(s, affix string) bool) method[string] {
	return func(_ *state, v string, c *call) any {
		switch x := c.take("affix")[0].(type) {
		case string:
			return has(v, x)
		case *List:
			for _, one := range x.Items {
				if a, ok := one.(string); ok && has(v, a) {
					return true
				}
			}
			return false
		}
		fail("%s takes a string or a tuple of strings", c.name)
		return nil
	}
}

// replace is str.replace, and the filter of that name.
func (s *state) replace(v string, c *call) string {
	a := c.take("old", "new", "count")
	old, ok := a[0].(string)
	with, ok2 := a[1].(string)
	if !ok || !ok2 {
		fail("replace takes two strings, not %s and %s", kindName(a[0]), kindName(a[1]))
	}
	n := -1
	if i, ok := or(a[2], nil).(int64); ok && i >= 0 && i < 1<<31 {
		n = int(i)
	}
	found := strings.Count(v, old)
	if n >= 0 {
		found = min(found, n)
	}
	if grown := len(with) - len(old); grown > 0 && found > s.room/grown {
		s.made(s.room + 1)
	}
	s.made(len(v) + found*(len(with)-len(old)))
	return strings.Replace(v, old, with, n)
}

func splitter(right bool) method[string] {
	return func(s *state, v string, c *call) any {
		a := c.take("sep", "maxsplit")
		most := -1
		if n, ok := or(a[1], nil).(int64); ok && n >= 0 && n < 1<<31 {
			most = int(n)
		}
		s.step(len(v)/16 + 1)
		sep, ok := or(a[0], nil).(string)
		switch {
		case !ok && given(a[0]) && a[0] != nil:
			fail("split takes a string, not %s", kindName(a[0]))
		case !ok:
			return s.stringList(splitSpace(v, most, right))
		case sep == "":
			fail("split by nothing")
		case most < 0:
			return s.stringList(strings.Split(v, sep))
		case right:
			return s.stringList(splitRight(v, sep, most))
		}
		return s.stringList(strings.SplitN(v, sep, most+1))
	}
}

func splitRight(v, sep string, most int) []string {
	parts := strings.Split(v, sep)
	if keep := len(parts) - most; keep > 1 {
		parts = append([]string{strings.Join(parts[:keep], sep)}, parts[keep:]...)
	}
	return parts
}

// splitSpace splits at runs of white space.
func splitSpace(v string, most int, right bool) []string {
	words := strings.Fields(v)
	if most < 0 || len(words) <= most {
		return words
	}
	if right {
		rest := v
		for range most {
			rest = strings.TrimRightFunc(rest, unicode.IsSpace)
			rest = strings.TrimRightFunc(rest, func(r rune) bool { return !unicode.IsSpace(r) })
		}
		return append([]string{strings.TrimRightFunc(rest, unicode.IsSpace)}, words[len(words)-most:]...)
	}
	rest := v
	for range most {
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		rest = strings.TrimLeftFunc(rest, func(r rune) bool { return !unicode.IsSpace(r) })
	}
	return append(words[:most:most], strings.TrimLeftFunc(rest, unicode.IsSpace))
}

func (s *state) stringList(parts []string) *List {
	s.step(len(parts))
	out := &List{Items: make([]any, len(parts))}
	for i, p := range parts {
		out.Items[i] = p
	}
	return out
}

func (s *state) splitLines(v string, keep bool) *List {
	var out []string
	for v != "" {
		i := strings.IndexFunc(v, func(r rune) bool { return strings.ContainsRune("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029", r) })
		if i < 0 {
			out = append(out, v)
			break
		}
		_, n := utf8.DecodeRuneInString(v[i:])
		if strings.HasPrefix(v[i:], "\r\n") {
			n = 2
		}
		line := v[:i]
		if keep {
			line = v[:i+n]
		}
		out, v = append(out, line), v[i+n:]
	}
	return s.stringList(out)
}

// finder gives places in characters, -1 or a failure where there is none.
func finder(find func(s, sub string) int, must bool) method[string] {
	return func(s *state, v string, c *call) any {
		s.step(len(v)/64 + 1)
		i := find(v, c.text("sub")[0])
		switch {
		case i >= 0:
			return int64(utf8.RuneCountInString(v[:i]))
		case must:
			fail("the string has no such part")
		}
		return int64(-1)
	}
}

func partition(find func(s, sub string) int, left bool) method[string] {
	return func(s *state, v string, c *call) any {
		s.step(len(v)/64 + 1)
		sep := c.text("sep")[0]
		if sep == "" {
			fail("partition by nothing")
		}
		switch i := find(v, sep); {
		case i >= 0:
			return tuple(v[:i], sep, v[i+len(sep):])
		case left:
			return tuple(v, "", "")
		}
		return tuple("", "", v)
	}
}

func (s *state) zeroFill(v string, width any) string {
	w, ok := width.(int64)
	if !ok || w > maxText {
		fail("zfill takes a width")
	}
	sign := ""
	if v != "" && (v[0] == '-' || v[0] == '+') {
		sign, v = v[:1], v[1:]
	}
	n := int(w) - len(sign) - utf8.RuneCountInString(v)
	s.made(max(n, 0))
	return sign + strings.Repeat("0", max(n, 0)) + v
}

// joinItems is the text of items with a separator between them; only strings, if strict.
func (s *state) joinItems(v any, sep string, strict bool) string {
	items := s.items(v)
	parts, size := make([]string, len(items)), 0
	for i, item := range items {
		t, ok := item.(string)
		if !ok && strict {
			fail("join takes strings, not %s", kindName(item))
		} else if !ok {
			t = s.str(item)
		}
		s.step(1)
		parts[i] = t
		size += len(t) + len(sep)
		if size > s.room {
			s.made(size)
		}
	}
	s.made(size)
	return strings.Join(parts, sep)
}
