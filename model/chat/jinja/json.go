package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
)

// FromJSON reads a JSON value: mappings keep the order of their keys, whole numbers stay whole.
func FromJSON(raw []byte) (v any, err error) {
	defer func() {
		if e := failure(recover()); e != nil {
			err = e
		}
	}()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if v, err = decode(dec, 0); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

func decode(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON nested more than %d deep", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch x := t.(type) {
	case json.Number:
		return numberOf(x.String())
	case json.Delim:
		if x == '[' {
			list := &List{Items: []any{}}
			for dec.More() {
				v, err := decode(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list.Items = append(list.Items, v)
			}
			_, err := dec.Token()
			return list, err
		}
		d := NewDict()
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(dec, depth+1)
			if err != nil {
				return nil, err
			}
			d.Set(key, v)
		}
		_, err := dec.Token()
		return d, err
	}
	return t, nil // nil, bool, string
}

// numberOf is a JSON number as Python's json reads it.
func numberOf(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && f == 0 {
			return nil, err
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || len(s) > 4300 { // Python's own limit
		return nil, fmt.Errorf("%.20s is no number", s)
	}
	return n, nil
}

// jsonStyle is how tojson writes.
type jsonStyle struct {
	ascii, sorted bool
	indent        string
	lines         bool // an indent was asked for
	item, key     string
}

// toJSON is transformers' filter: Python's json.dumps, by default without escaping what is not ASCII.
func toJSON(s *state, v any, c *call) any {
	a := c.take("ensure_ascii", "indent", "separators", "sort_keys")
	style := jsonStyle{ascii: truth(or(a[0], false)), sorted: truth(or(a[3], false)), item: ", ", key: ": "}
	switch x := or(a[1], nil).(type) {
	case nil:
	case int64:
		style.lines, style.indent, style.item = true, s.repeat(" ", x), ","
	case string:
		style.lines, style.indent, style.item = true, x, ","
	default:
		fail("tojson: indent is a number or a string, not %s", kindName(x))
	}
	if sep, ok := or(a[2], nil).(*List); ok {
		if len(sep.Items) != 2 {
			fail("tojson: separators are two strings")
		}
		style.item, style.key = s.str(sep.Items[0]), s.str(sep.Items[1])
	}
	var b strings.Builder
	style.write(s, &b, v, 0)
	s.made(b.Len())
	return b.String()
}

func (j jsonStyle) write(s *state, b *strings.Builder, v any, depth int) {
	s.step(1)
	if depth > maxDepth {
		fail("a value is nested more than %d deep", maxDepth)
	}
	switch x := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(x))
	case int64, *big.Int:
		fmt.Fprint(b, x)
	case float64:
		b.WriteString(map[string]string{"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[floatText(x)])
		if t := floatText(x); strings.IndexFunc(t, func(r rune) bool { return r == 'n' }) < 0 {
			b.WriteString(t)
		}
	case string:
		s.made(len(x))
		j.quote(b, x)
	case *List:
		j.series(s, b, '[', ']', len(x.Items), depth, func(i int) { j.write(s, b, x.Items[i], depth+1) })
	case *Dict:
		keys := x.keys
		if j.sorted {
			keys = s.sorted(keys, func(k any) any { return k }, false)
		}
		j.series(s, b, '{', '}', len(keys), depth, func(i int) {
			j.quote(b, s.jsonKey(keys[i]))
			b.WriteString(j.key)
			v, _ := x.Get(keys[i])
			j.write(s, b, v, depth+1)
		})
	case undefined:
		x.fail()
	default:
		fail("%s is nothing that JSON has", kindName(v))
	}
}

// jsonKey is a key's text: JSON has no others.
func (s *state) jsonKey(k any) string {
	switch x := k.(type) {
	case string:
		s.made(len(x))
		return x
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(x)
	}
	return s.str(k)
}

func (j jsonStyle) series(s *state, b *strings.Builder, open, closing byte, n, depth int, each func(i int)) {
	b.WriteByte(open)
	line := func(depth int) {
		if j.lines {
			s.made(1 + depth*len(j.indent))
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(j.indent, depth))
		}
	}
	for i := range n {
		if i > 0 {
			b.WriteString(j.item)
		}
		line(depth + 1)
		each(i)
	}
	if n > 0 {
		line(depth)
	}
	b.WriteByte(closing)
}

// quote writes a JSON string.
func (j jsonStyle) quote(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strings.ContainsRune("\b\f\n\r\t", r):
			b.WriteByte('\\')
			b.WriteByte("bfnrt"[strings.IndexRune("\b\f\n\r\t", r)])
		case r < 0x20 || j.ascii && r > 0x7e && r < 0x10000:
			b.WriteString(`\u` + hex(r, 4))
		case j.ascii && r >= 0x10000:
			r -= 0x10000
			b.WriteString(`\u` + hex(0xd800+r>>10, 4) + `\u` + hex(0xdc00+r&0x3ff, 4))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}
