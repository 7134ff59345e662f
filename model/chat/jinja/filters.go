package jinja

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// builtin is a filter or a test of a value.
type builtin func(s *state, v any, c *call) any

// filters are Jinja's, but for those that make HTML.
var filters map[string]builtin

func init() { // some filters look others up
	textual := func(f func(string) string) builtin {
		return func(s *state, v any, c *call) any {
			c.take()
			t := f(s.str(v))
			s.made(len(t))
			return t
		}
	}
	filters = map[string]builtin{
		"tojson": toJSON,
		"upper":  textual(upper), "lower": textual(lower), "title": textual(titleFilter), "capitalize": textual(capitalize),
		"string": textual(func(t string) string { return t }), "safe": textual(func(t string) string { return t }),
		"escape": textual(htmlEscaper.Replace), "e": textual(htmlEscaper.Replace),
		"trim":    func(s *state, v any, c *call) any { return trim(s.str(v), c.take("chars")[0], true, true) },
		"replace": func(s *state, v any, c *call) any { return s.replace(s.str(v), c) },
		"indent":  indent,
		"length":  length, "count": length,
		"default": defaultFilter, "d": defaultFilter,
		"join": joinFilter,
		"list": func(s *state, v any, c *call) any { c.take(); return &List{Items: slices.Clone(s.items(v))} },
		"items": func(s *state, v any, c *call) any {
			c.take()
			switch d := v.(type) {
			case *Dict:
				return dictMethods["items"](s, d, c)
			case undefined:
				return &List{}
			}
			fail("items takes a mapping, not %s", kindName(v))
			return nil
		},
		"first": edge(func(int) int { return 0 }), "last": edge(func(n int) int { return n - 1 }),
		"reverse": reverse,
		"int":     toInt, "float": toFloat, "abs": absolute, "round": round,
		"sort": sortFilter, "dictsort": dictSort, "unique": unique, "sum": sum,
		"min": extreme(func(s *state, a, b any) bool { return s.less(a, b) }),
		"max": extreme(func(s *state, a, b any) bool { return s.less(b, a) }),
		"map": mapFilter, "select": chooser(false, true), "reject": chooser(false, false),
		"selectattr": chooser(true, true), "rejectattr": chooser(true, false),
		"attr": func(s *state, v any, c *call) any { return s.attribute(v, c.text("name")[0]) },
	}
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// titleFilter differs from str.title: words begin after white space and some brackets only.
func titleFilter(v string) string {
	var b strings.Builder
	begins := true
	for _, r := range v {
		if begins {
			b.WriteString(upper(string(r)))
		} else {
			b.WriteString(lower(string(r)))
		}
		begins = strings.ContainsRune("-([{< \t\n\r\f\v", r)
	}
	return b.String()
}

func length(s *state, v any, c *call) any {
	c.take()
	switch x := v.(type) {
	case string:
		s.step(len(x)/64 + 1)
		return int64(utf8.RuneCountInString(x))
	case *List, *Dict, undefined:
		return int64(len(s.items(v)))
	}
	fail("%s has no length", kindName(v))
	return nil
}

func defaultFilter(_ *state, v any, c *call) any {
	a := c.take("default_value", "boolean")
	_, absent := v.(undefined)
	if absent || truth(or(a[1], false)) && !truth(v) {
		return or(a[0], "")
	}
	return v
}

func joinFilter(s *state, v any, c *call) any {
	a := c.take("d", "attribute")
	if path := or(a[1], nil); path != nil {
		v = s.mapped(v, func(item any) any { return s.path(item, path) })
	}
	return s.joinItems(v, s.str(or(a[0], "")), false)
}

// indent puts white space before every line but the first, and but empty ones.
func indent(s *state, v any, c *call) any {
	a := c.take("width", "first", "blank")
	pad := ""
	switch w := or(a[0], int64(4)).(type) {
	case int64:
		pad = s.repeat(" ", w)
	case string:
		pad = w
	default:
		fail("indent takes a width or a string, not %s", kindName(w))
	}
	// As Jinja does it: a newline is added, the text split, and joined.
	lines := s.splitLines(s.join(s.str(v), "\n"), false).Items
	var b strings.Builder
	for i, l := range lines {
		line := l.(string)
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == 0 && truth(or(a[1], false)) || i > 0 && (line != "" || truth(or(a[2], false))) {
			s.made(len(pad))
			b.WriteString(pad)
		}
		b.WriteString(line)
	}
	s.made(b.Len())
	return b.String()
}

func edge(at func(n int) int) builtin {
	return func(s *state, v any, c *call) any {
		c.take()
		items := s.items(v)
		if len(items) == 0 {
			return undefined{"the item of an empty sequence"}
		}
		return items[at(len(items))]
	}
}

func reverse(s *state, v any, c *call) any {
	c.take()
	items := slices.Clone(s.items(v))
	s.step(len(items))
	slices.Reverse(items)
	if _, ok := v.(string); ok {
		return s.joinItems(&List{Items: items}, "", true)
	}
	return &List{Items: items}
}

func toInt(_ *state, v any, c *call) any {
	a := c.take("default", "base")
	switch x := v.(type) {
	case int64, *big.Int:
		return x
	case bool:
		_, i, _, _ := numeric(x)
		return i
	case float64:
		if math.Abs(x) < 1<<62 {
			return int64(x)
		}
	case string:
		base := 10
		if b, ok := or(a[1], nil).(int64); ok && (b == 2 || b == 8 || b == 16) {
			base = int(b)
		}
		t := strings.TrimSpace(x)
		for prefix, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
			if b == base && len(t) > 2 && strings.EqualFold(t[:2], prefix) {
				t = t[2:]
			}
		}
		if n, err := strconv.ParseInt(strings.ReplaceAll(t, "_", ""), base, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(t, 64); err == nil && math.Abs(f) < 1<<62 {
			return int64(f)
		}
	}
	return or(a[0], int64(0))
}

func toFloat(_ *state, v any, c *call) any {
	def := or(c.take("default")[0], 0.0)
	if f, _, _, ok := numeric(v); ok {
		return f
	}
	if t, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimSpace(t), 64); err == nil {
			return f
		}
	}
	return def
}

func absolute(_ *state, v any, c *call) any {
	c.take()
	f, i, whole, ok := numeric(v)
	switch {
	case !ok:
		fail("%s has no absolute value", kindName(v))
	case whole && i == math.MinInt64:
		fail("%d is too small a number", i)
	case whole:
		return max(i, -i)
	}
	return math.Abs(f)
}

// round rounds halves to even, as Python does, at a place after the point.
func round(_ *state, v any, c *call) any {
	a := c.take("precision", "method")
	f, i, whole, ok := numeric(v)
	digits, ok2 := or(a[0], int64(0)).(int64)
	if !ok || !ok2 || digits < -300 || digits > 300 {
		fail("round takes a number and a precision")
	}
	scale := math.Pow(10, float64(digits))
	switch or(a[1], "common") {
	case "common":
		if whole && digits >= 0 {
			return i
		}
		if digits < 0 {
			return math.RoundToEven(f*scale) / scale
		}
		// The nearest decimal, as Python's correctly rounded conversion finds it.
		out, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
		if err != nil {
			fail("round: %v", err)
		}
		return out
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	}
	fail("round: the method is common, ceil or floor")
	return nil
}
