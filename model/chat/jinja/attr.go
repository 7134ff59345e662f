package jinja

import "strings"

// attribute is v.name: as in Python a value's own methods come before a mapping's keys.
func (s *state) attribute(v any, name string) any {
	if strings.HasPrefix(name, "__") {
		return undefined{name + ", which is not for templates,"}
	}
	switch x := v.(type) {
	case undefined:
		x.fail()
	case *Dict:
		if m, ok := dictMethods[name]; ok {
			return bind(m, x)
		}
		if v, ok := x.Get(name); ok {
			return v
		}
	case string:
		if m, ok := stringMethods[name]; ok {
			return bind(m, x)
		}
	case *List:
		if m, ok := listMethods[name]; ok {
			return bind(m, x)
		}
	case *namespace:
		if v, ok := x.values[name]; ok {
			return v
		}
	case *loop:
		return x.field(name)
	case *macro:
		if name == "name" {
			return x.name
		}
	}
	return undefined{kindName(v) + "'s " + name}
}

// method is a function of a value.
type method[T any] func(s *state, v T, c *call) any

func bind[T any](m method[T], v T) function {
	return func(s *state, c *call) any {
		s.step(1)
		return m(s, v, c)
	}
}

// item is v[key]: an item, else an attribute.
func (s *state) item(v, key any) any {
	switch x := v.(type) {
	case undefined:
		x.fail()
	case *Dict:
		if v, ok := x.Get(key); ok {
			return v
		}
	case *List:
		if i, ok := index(key, len(x.Items)); ok {
			return x.Items[i]
		}
	case string:
		if n, ok := key.(int64); ok {
			items := s.items(x)
			if i, ok := index(n, len(items)); ok {
				return items[i]
			}
		}
	}
	if name, ok := key.(string); ok {
		return s.attribute(v, name)
	}
	return undefined{kindName(v) + "'s item " + s.str(key)}
}

// index is a place in n items; negative ones count from the end.
func index(key any, n int) (int, bool) {
	f, i, whole, ok := numeric(key)
	if !ok || !whole || f != float64(i) {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

// slice is v[lo:hi:step], Python's.
func (s *state) slice(v, lo, hi, step any) any {
	if u, ok := v.(undefined); ok {
		u.fail()
	}
	_, isDict := v.(*Dict)
	if isDict {
		fail("a mapping has no slices")
	}
	items := s.items(v)
	by := 1
	if step != nil {
		n, ok := step.(int64)
		if !ok || n == 0 || n != int64(int32(n)) {
			fail("a slice's step is a whole number and not 0")
		}
		by = int(n)
	}
	from, to := bounds(lo, hi, len(items), by)
	var out []any
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		s.step(1)
		out = append(out, items[i])
	}
	switch x := v.(type) {
	case string:
		var b strings.Builder
		for _, r := range out {
			b.WriteString(r.(string))
		}
		s.made(b.Len())
		return b.String()
	case *List:
		return &List{out, x.Tuple}
	}
	return &List{Items: out}
}

// bounds are a slice's, clipped to n items.
func bounds(lo, hi any, n, by int) (from, to int) {
	low, high := 0, n
	if by < 0 {
		low, high = -1, n-1
	}
	clip := func(v any, instead int) int {
		if v == nil {
			return instead
		}
		i, ok := v.(int64)
		if !ok {
			fail("a slice's bounds are whole numbers, not %s", kindName(v))
		}
		if i < 0 {
			i += int64(n)
		}
		return int(max(int64(low), min(i, int64(high))))
	}
	if by < 0 {
		return clip(lo, high), clip(hi, low)
	}
	return clip(lo, low), clip(hi, high)
}

// immutable stands for the methods that would change a value: templates may not.
func immutable[T any](_ *state, _ T, c *call) any {
	fail("%s would change a value, which templates may not", c.name)
	return nil
}

var dictMethods = map[string]method[*Dict]{
	"get": func(_ *state, d *Dict, c *call) any {
		a := c.take("key", "default")
		if v, ok := d.Get(a[0]); ok {
			return v
		}
		return or(a[1], nil)
	},
	"keys":   func(_ *state, d *Dict, _ *call) any { return &List{Items: d.keys} },
	"values": func(s *state, d *Dict, _ *call) any { return dictItems(s, d, func(_, v any) any { return v }) },
	"items": func(s *state, d *Dict, _ *call) any {
		return dictItems(s, d, func(k, v any) any { return tuple(k, v) })
	},
	"copy":  func(_ *state, d *Dict, _ *call) any { return d },
	"clear": immutable[*Dict], "pop": immutable[*Dict], "popitem": immutable[*Dict], "setdefault": immutable[*Dict], "update": immutable[*Dict],
}

func dictItems(s *state, d *Dict, of func(k, v any) any) *List {
	s.step(d.Len())
	out := &List{}
	for _, k := range d.keys {
		v, _ := d.Get(k)
		out.Items = append(out.Items, of(k, v))
	}
	return out
}

var listMethods = map[string]method[*List]{
	"index": func(s *state, l *List, c *call) any {
		for i, v := range l.Items {
			if s.equal(v, c.take("value")[0]) {
				return int64(i)
			}
		}
		fail("the list has no such item")
		return nil
	},
	"count": func(s *state, l *List, c *call) any {
		n := int64(0)
		for _, v := range l.Items {
			if s.equal(v, c.take("value")[0]) {
				n++
			}
		}
		return n
	},
	"copy":   func(_ *state, l *List, _ *call) any { return l },
	"append": immutable[*List], "clear": immutable[*List], "extend": immutable[*List], "insert": immutable[*List], "pop": immutable[*List],
	"remove": immutable[*List], "reverse": immutable[*List], "sort": immutable[*List],
}
