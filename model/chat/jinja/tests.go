package jinja

import (
	"math/big"
)

// tests are what may follow "is".
var tests map[string]builtin

func init() { // some tests look others up
	kind := func(is func(v any) bool) builtin {
		return func(_ *state, v any, c *call) any {
			c.take()
			return is(v)
		}
	}
	compare := func(op string) builtin {
		return func(s *state, v any, c *call) any { return s.compare(op, v, c.take("other")[0]) }
	}
	tests = map[string]builtin{
		"defined":   kind(func(v any) bool { _, is := v.(undefined); return !is }),
		"undefined": kind(func(v any) bool { _, is := v.(undefined); return is }),
		"none":      kind(func(v any) bool { return v == nil }),
		"true":      kind(func(v any) bool { return v == true }),
		"false":     kind(func(v any) bool { return v == false }),
		"boolean":   kind(func(v any) bool { _, is := v.(bool); return is }),
		"string":    kind(func(v any) bool { _, is := v.(string); return is }),
		"mapping":   kind(func(v any) bool { _, is := v.(*Dict); return is }),
		"float":     kind(func(v any) bool { _, is := v.(float64); return is }),
		"integer":   kind(isInteger),
		"number":    kind(func(v any) bool { _, _, _, is := numeric(v); return is }),
		"callable":  kind(isCallable),
		"iterable":  kind(isIterable),
		"sequence":  kind(isIterable),
		"odd":       func(s *state, v any, c *call) any { c.take(); return s.equal(s.binary("%", v, int64(2)), int64(1)) },
		"even":      func(s *state, v any, c *call) any { c.take(); return s.equal(s.binary("%", v, int64(2)), int64(0)) },
		"divisibleby": func(s *state, v any, c *call) any {
			return s.equal(s.binary("%", v, c.take("num")[0]), int64(0))
		},
		"lower": func(s *state, v any, c *call) any { return stringMethods["islower"](s, s.str(v), c) },
		"upper": func(s *state, v any, c *call) any { return stringMethods["isupper"](s, s.str(v), c) },
		"in":    func(s *state, v any, c *call) any { return s.contains(c.take("seq")[0], v) },
		"sameas": func(_ *state, v any, c *call) any {
			other := c.take("other")[0]
			_, callable := v.(function)
			_, callable2 := other.(function)
			return !callable && !callable2 && v == other
		},
		"filter": func(s *state, v any, c *call) any { c.take(); return filters[s.str(v)] != nil },
		"test":   func(s *state, v any, c *call) any { c.take(); return tests[s.str(v)] != nil },
	}
	for op, names := range map[string][]string{
		"==": {"==", "eq", "equalto"}, "!=": {"!=", "ne"}, "<": {"<", "lt", "lessthan"}, "<=": {"<=", "le"},
		">": {">", "gt", "greaterthan"}, ">=": {">=", "ge"},
	} {
		for _, n := range names {
			tests[n] = compare(op)
		}
	}
}

func isInteger(v any) bool {
	switch v.(type) {
	case int64, *big.Int:
		return true
	}
	return false
}

func isCallable(v any) bool {
	switch v.(type) {
	case function, *macro:
		return true
	}
	return false
}

func isIterable(v any) bool {
	switch v.(type) {
	case string, *List, *Dict, undefined:
		return true
	}
	return false
}
