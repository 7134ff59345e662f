package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// mapped is a list of what f makes of items.
func (s *state) mapped(v any, f func(any) any) *List {
	items := s.items(v)
	s.step(len(items))
	out := &List{Items: make([]any, len(items))}
	for i, x := range items {
		out.Items[i] = f(x)
	}
	return out
}

// path is an attribute given as "a.b.0", or as a number.
func (s *state) path(v, path any) any {
	p, ok := path.(string)
	if !ok {
		return s.item(v, path)
	}
	for part := range strings.SplitSeq(p, ".") {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			v = s.item(v, n)
		} else {
			v = s.item(v, part)
		}
	}
	return v
}

// sorted sorts items by a key, stably.
func (s *state) sorted(items []any, key func(any) any, caseSensitive bool) []any {
	keys := make([]any, len(items))
	at := make([]int, len(items))
	for i, x := range items {
		k := key(x)
		if t, ok := k.(string); ok && !caseSensitive {
			k = strings.ToLower(t)
		}
		keys[i], at[i] = k, i
	}
	slices.SortStableFunc(at, func(a, b int) int {
		switch {
		case s.less(keys[a], keys[b]):
			return -1
		case s.less(keys[b], keys[a]):
			return 1
		}
		return 0
	})
	out := make([]any, len(items))
	for i, j := range at {
		out[i] = items[j]
	}
	return out
}

func sortFilter(s *state, v any, c *call) any {
	a := c.take("reverse", "case_sensitive", "attribute")
	key := func(x any) any { return x }
	if path := or(a[2], nil); path != nil {
		key = func(x any) any { return s.path(x, path) }
	}
	items := slices.Clone(s.items(v))
	if truth(or(a[0], false)) { // stable the other way round
		slices.Reverse(items)
		items = s.sorted(items, key, truth(or(a[1], false)))
		slices.Reverse(items)
		return &List{Items: items}
	}
	return &List{Items: s.sorted(items, key, truth(or(a[1], false)))}
}

func dictSort(s *state, v any, c *call) any {
	a := c.take("case_sensitive", "by", "reverse")
	d, ok := v.(*Dict)
	if !ok {
		fail("dictsort takes a mapping, not %s", kindName(v))
	}
	by := 0
	if or(a[1], "key") == "value" {
		by = 1
	}
	pairs := dictItems(s, d, func(k, v any) any { return tuple(k, v) }).Items
	out := s.sorted(pairs, func(x any) any { return x.(*List).Items[by] }, truth(or(a[0], false)))
	if truth(or(a[2], false)) {
		slices.Reverse(out)
	}
	return &List{Items: out}
}

func unique(s *state, v any, c *call) any {
	a := c.take("case_sensitive", "attribute")
	out := &List{}
	var seen []any
	for _, x := range s.items(v) {
		k := x
		if path := or(a[1], nil); path != nil {
			k = s.path(x, path)
		}
		if t, ok := k.(string); ok && !truth(or(a[0], false)) {
			k = strings.ToLower(t)
		}
		if !slices.ContainsFunc(seen, func(old any) bool { return s.equal(old, k) }) {
			seen, out.Items = append(seen, k), append(out.Items, x)
		}
	}
	return out
}

func sum(s *state, v any, c *call) any {
	a := c.take("attribute", "start")
	total := or(a[1], int64(0))
	for _, x := range s.items(v) {
		if path := or(a[0], nil); path != nil {
			x = s.path(x, path)
		}
		total = s.binary("+", total, x)
	}
	return total
}

func extreme(before func(s *state, a, b any) bool) builtin {
	return func(s *state, v any, c *call) any {
		a := c.take("case_sensitive", "attribute")
		key := func(x any) any {
			if path := or(a[1], nil); path != nil {
				x = s.path(x, path)
			}
			if t, ok := x.(string); ok && !truth(or(a[0], false)) {
				return strings.ToLower(t)
			}
			return x
		}
		var best any = undefined{"the item of an empty sequence"}
		for i, x := range s.items(v) {
			if i == 0 || before(s, key(x), key(best)) {
				best = x
			}
		}
		return best
	}
}

// mapFilter is map("filter", ...) or map(attribute="a.b").
func mapFilter(s *state, v any, c *call) any {
	if len(c.args) == 0 {
		a := c.take("attribute", "default")
		if !given(a[0]) {
			fail("map takes a filter or an attribute")
		}
		return s.mapped(v, func(x any) any {
			got := s.path(x, a[0])
			if _, absent := got.(undefined); absent && given(a[1]) {
				return a[1]
			}
			return got
		})
	}
	n, _ := c.args[0].(string)
	f := filters[n]
	if f == nil {
		fail("map: no filter %q is known", s.str(c.args[0]))
	}
	rest := &call{name: n, args: c.args[1:], named: c.named}
	return s.mapped(v, func(x any) any { return f(s, x, rest) })
}

// chooser is select, reject and their like for attributes: what passes a test, or without one is true, is kept or not.
func chooser(byAttribute, keep bool) builtin {
	return func(s *state, v any, c *call) any {
		args := c.args
		key := func(x any) any { return x }
		if byAttribute {
			if len(args) == 0 {
				fail("%s takes an attribute", c.name)
			}
			path := args[0]
			key, args = func(x any) any { return s.path(x, path) }, args[1:]
		}
		passes := func(x any) bool { return truth(x) }
		if len(args) > 0 {
			n, _ := args[0].(string)
			t := tests[n]
			if t == nil {
				fail("%s: no test %q is known", c.name, s.str(args[0]))
			}
			rest := &call{name: n, args: args[1:], named: c.named}
			passes = func(x any) bool { return truth(t(s, x, rest)) }
		}
		out := &List{Items: []any{}}
		for _, x := range s.items(v) {
			s.step(1)
			if passes(key(x)) == keep {
				out.Items = append(out.Items, x)
			}
		}
		return out
	}
}
