package jinja

import (
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// Values are Go's nil (None), bool, int64, *big.Int (whole numbers beyond int64, as JSON may hold them), float64, string,
// *List, *Dict, undefined, and what templates make and call: *namespace, *loop, *macro, function.

// List is a list, or a tuple.
type List struct {
	Items []any
	Tuple bool
}

// NewList makes a list.
func NewList(items ...any) *List { return &List{Items: items} }

func tuple(items ...any) *List { return &List{Items: items, Tuple: true} }

// Dict is a mapping that keeps the order in which its keys came. Templates cannot change it.
type Dict struct {
	keys   []any
	values map[any]any
}

// NewDict makes an empty mapping.
func NewDict() *Dict { return &Dict{values: map[any]any{}} }

// Set adds or replaces a key, which is hashable.
func (d *Dict) Set(key, value any) {
	k, ok := hashable(key)
	if !ok {
		fail("%s is no key of a mapping", kindName(key))
	}
	if _, ok := d.values[k]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[k] = value
}

// Get looks a key up.
func (d *Dict) Get(key any) (any, bool) {
	k, ok := hashable(key)
	if !ok {
		return nil, false
	}
	v, ok := d.values[k]
	return v, ok
}

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// hashable is the Go value that stands for a key: as in Python 1, 1.0 and true are the same.
func hashable(key any) (any, bool) {
	switch k := key.(type) {
	case bool:
		if k {
			return int64(1), true
		}
		return int64(0), true
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int64(k), true
		}
		return k, true
	case nil, string, int64:
		return k, true
	}
	return nil, false
}

// undefined is a name or an attribute that is not there; it prints as nothing.
type undefined struct{ what string }

// fail ends rendering: an undefined value was used as if it were there.
func (u undefined) fail() { fail("%s is undefined", u.what) }

// namespace is the only thing whose attributes a template may set.
type namespace struct{ values map[string]any }

// function is something built in that templates call.
type function func(s *state, c *call) any

// call is the arguments of a call.
type call struct {
	name  string
	args  []any
	named []namedArg
}

type namedArg struct {
	name  string
	value any
}

// take returns the arguments by the names of the parameters, in order; what is not given is missing.
func (c *call) take(params ...string) []any {
	out := make([]any, len(params))
	for i := range out {
		out[i] = missing{}
	}
	if len(c.args) > len(params) {
		fail("%s takes at most %d arguments, not %d", c.name, len(params), len(c.args))
	}
	copy(out, c.args)
next:
	for _, n := range c.named {
		for i, p := range params {
			if p == n.name {
				out[i] = n.value
				continue next
			}
		}
		fail("%s has no argument %s", c.name, n.name)
	}
	return out
}

// missing is an argument that was not given.
type missing struct{}

func given(v any) bool { _, ok := v.(missing); return !ok }

// or returns v, or instead if v was not given.
func or(v, instead any) any {
	if given(v) {
		return v
	}
	return instead
}

// truth is Python's.
func truth(v any) bool {
	switch x := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return x
	case int64:
		return x != 0
	case float64:
		return x != 0
	case string:
		return x != ""
	case *List:
		return len(x.Items) > 0
	case *Dict:
		return x.Len() > 0
	}
	return true
}

// kindName names what a value is, for messages.
func kindName(v any) string {
	switch x := v.(type) {
	case nil:
		return "none"
	case undefined:
		return "an undefined value"
	case bool:
		return "a boolean"
	case int64, *big.Int:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a string"
	case *List:
		if x.Tuple {
			return "a tuple"
		}
		return "a list"
	case *Dict:
		return "a mapping"
	case *macro, function:
		return "a function"
	}
	return "an object"
}

// str is Python's str().
func (s *state) str(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case undefined:
		return ""
	}
	var b strings.Builder
	s.repr(&b, v, 0)
	s.made(b.Len())
	return b.String()
}

// repr writes Python's repr() of a value.
func (s *state) repr(b *strings.Builder, v any, depth int) {
	s.step(1)
	if depth > maxDepth {
		fail("a value is nested more than %d deep", maxDepth)
	}
	switch x := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[x])
	case int64:
		b.WriteString(strconv.FormatInt(x, 10))
	case *big.Int:
		b.WriteString(x.String())
	case float64:
		b.WriteString(floatText(x))
	case string:
		s.made(len(x)) // now: a value may hold another many times over
		quote(b, x)
	case undefined:
		b.WriteString("Undefined")
	case *List:
		s.reprList(b, x, depth)
	case *Dict:
		b.WriteByte('{')
		for i, k := range x.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			s.repr(b, k, depth+1)
			b.WriteString(": ")
			v, _ := x.Get(k)
			s.repr(b, v, depth+1)
		}
		b.WriteByte('}')
	default:
		fail("%s has no text", kindName(v))
	}
}

func (s *state) reprList(b *strings.Builder, x *List, depth int) {
	open, closing := "[", "]"
	if x.Tuple {
		open, closing = "(", ")"
		if len(x.Items) == 1 {
			closing = ",)"
		}
	}
	b.WriteString(open)
	for i, item := range x.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		s.repr(b, item, depth+1)
	}
	b.WriteString(closing)
}

// floatText is Python's repr of a float: the shortest digits, an exponent below 1e-4 and from 1e16 on.
func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return map[bool]string{true: "inf", false: "-inf"}[f > 0]
	case f != 0 && (math.Abs(f) < 1e-4 || math.Abs(f) >= 1e16):
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	t := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(t, ".") {
		t += ".0"
	}
	return t
}

// quote writes Python's repr of a string.
func quote(b *strings.Builder, s string) {
	mark := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		mark = '"'
	}
	b.WriteByte(mark)
	for _, r := range s {
		switch {
		case r == rune(mark) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			b.WriteString(`\x` + hex(r, 2))
		case r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		default:
			b.WriteString(`\U` + hex(r, 8))
		}
	}
	b.WriteByte(mark)
}

func hex(r rune, width int) string {
	h := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", max(0, width-len(h))) + h
}

// All yields the keys and values in order.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(key, value any) bool) {
		for _, k := range d.keys {
			if v, _ := d.Get(k); !yield(k, v) {
				return
			}
		}
	}
}
