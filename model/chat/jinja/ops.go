package jinja

import (
	"math"
	"math/big"
	"strings"
)

// numeric is a number as a float and, where it is one, as an integer; booleans are numbers, as in Python.
func numeric(v any) (f float64, i int64, whole, ok bool) {
	switch x := v.(type) {
	case bool:
		if x {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return float64(x), x, true, true
	case float64:
		return x, 0, false, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(x).Float64()
		return f, 0, false, true
	}
	return 0, 0, false, false
}

// binary is an arithmetic operator.
func (s *state) binary(op string, a, b any) any {
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok && op != "~" {
			u.fail()
		}
	}
	if op == "~" {
		return s.join(s.str(a), s.str(b))
	}
	if af, ai, aw, ok := numeric(a); ok {
		if bf, bi, bw, ok := numeric(b); ok {
			if aw && bw && op != "/" {
				return whole(op, ai, bi)
			}
			return floats(op, af, bf)
		}
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok && op == "+" {
			return s.join(x, y)
		}
		if n, ok := b.(int64); ok && op == "*" {
			return s.repeat(x, n)
		}
	case int64:
		if y, ok := b.(string); ok && op == "*" {
			return s.repeat(y, x)
		}
	case *List:
		if y, ok := b.(*List); ok && op == "+" && x.Tuple == y.Tuple {
			s.step(len(x.Items) + len(y.Items))
			return &List{append(append([]any(nil), x.Items...), y.Items...), x.Tuple}
		}
	}
	fail("%s %s %s means nothing", kindName(a), op, kindName(b))
	return nil
}

// join is a + b.
func (s *state) join(a, b string) string {
	s.made(len(a) + len(b))
	return a + b
}

func (s *state) repeat(x string, n int64) string {
	if n <= 0 || x == "" {
		return ""
	}
	if n > int64(s.room)/int64(len(x)) {
		s.made(s.room + 1)
	}
	s.made(len(x) * int(n))
	return strings.Repeat(x, int(n))
}

// whole is an operator on integers; like Python's, but what does not fit 64 bits fails.
func whole(op string, a, b int64) any {
	x, y, z := big.NewInt(a), big.NewInt(b), new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "**":
		if b < 0 {
			return floats(op, float64(a), float64(b))
		}
		if a < -1 || a > 1 {
			if b > 63 {
				fail("%d ** %d is too large a number", a, b)
			}
		} else {
			y.SetInt64(b & 1) // 0, 1 and -1 to any power, by its evenness
			if b > 0 && b&1 == 0 {
				y.SetInt64(2)
			}
		}
		z.Exp(x, y, nil)
	case "//", "%":
		if b == 0 {
			fail("division by zero")
		}
		q, m := new(big.Int).DivMod(x, y, new(big.Int)) // Euclid's: m >= 0
		if m.Sign() != 0 && b < 0 {                     // Python's remainder has the divisor's sign
			q.Sub(q, big.NewInt(1))
			m.Add(m, y)
		}
		if z = q; op == "%" {
			z = m
		}
	}
	if !z.IsInt64() {
		fail("%d %s %d is too large a number", a, op, b)
	}
	return z.Int64()
}

// floats is an operator on floats.
func floats(op string, a, b float64) any {
	if b == 0 && (op == "/" || op == "//" || op == "%") {
		fail("division by zero")
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		return a / b
	case "//":
		return math.Floor(a / b)
	case "%":
		m := math.Mod(a, b)
		if m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m
	}
	return math.Pow(a, b)
}

// equal is Python's ==.
func (s *state) equal(a, b any) bool {
	s.step(1)
	if x, ok := a.(*big.Int); ok {
		y, ok := b.(*big.Int)
		return ok && x.Cmp(y) == 0
	}
	if af, ai, aw, ok := numeric(a); ok {
		bf, bi, bw, ok := numeric(b)
		return ok && (aw && bw && ai == bi || (!aw || !bw) && af == bf)
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		y, ok := b.(string)
		return ok && x == y
	case *List:
		y, ok := b.(*List)
		if !ok || x.Tuple != y.Tuple || len(x.Items) != len(y.Items) {
			return false
		}
		for i := range x.Items {
			if !s.equal(x.Items[i], y.Items[i]) {
				return false
			}
		}
		return true
	case *Dict:
		return s.equalDicts(x, b)
	case function:
		return false
	}
	if _, ok := b.(function); ok {
		return false
	}
	return a == b
}

func (s *state) equalDicts(x *Dict, b any) bool {
	y, ok := b.(*Dict)
	if !ok || x.Len() != y.Len() {
		return false
	}
	for _, k := range x.keys {
		v, _ := x.Get(k)
		w, ok := y.Get(k)
		if !ok || !s.equal(v, w) {
			return false
		}
	}
	return true
}

// less is Python's <, of what has an order.
func (s *state) less(a, b any) bool {
	s.step(1)
	for _, v := range []any{a, b} {
		if u, ok := v.(undefined); ok {
			u.fail()
		}
	}
	if af, ai, aw, ok := numeric(a); ok {
		if bf, bi, bw, ok := numeric(b); ok {
			if aw && bw {
				return ai < bi
			}
			return af < bf
		}
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return x < y
		}
	case *List:
		if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
			for i := range min(len(x.Items), len(y.Items)) {
				if !s.equal(x.Items[i], y.Items[i]) {
					return s.less(x.Items[i], y.Items[i])
				}
			}
			return len(x.Items) < len(y.Items)
		}
	}
	fail("%s and %s have no order", kindName(a), kindName(b))
	return false
}

// contains is Python's in.
func (s *state) contains(set, v any) bool {
	switch x := set.(type) {
	case string:
		sub, ok := v.(string)
		if !ok {
			fail("in a string there are strings, not %s", kindName(v))
		}
		s.step(len(x)/64 + 1)
		return strings.Contains(x, sub)
	case *Dict:
		if u, ok := v.(undefined); ok {
			u.fail()
		}
		_, ok := x.Get(v)
		return ok
	}
	for _, item := range s.items(set) {
		if s.equal(item, v) {
			return true
		}
	}
	return false
}

// items are what iterating over a value yields.
func (s *state) items(v any) []any {
	switch x := v.(type) {
	case *List:
		return x.Items
	case *Dict:
		return x.keys
	case undefined:
		return nil
	case string:
		s.step(len(x))
		out := make([]any, 0, len(x))
		for _, r := range x {
			out = append(out, string(r))
		}
		return out
	case *namespace, nil, bool, int64, float64, *big.Int:
	}
	fail("%s has no items to go through", kindName(v))
	return nil
}

// compare is a comparison operator.
func (s *state) compare(op string, a, b any) bool {
	switch op {
	case "==":
		return s.equal(a, b)
	case "!=":
		return !s.equal(a, b)
	case "<":
		return s.less(a, b)
	case ">":
		return s.less(b, a)
	case "<=":
		return s.less(a, b) || s.equal(a, b)
	case ">=":
		return s.less(b, a) || s.equal(a, b)
	case "in":
		return s.contains(b, a)
	}
	return !s.contains(b, a) // not in
}
