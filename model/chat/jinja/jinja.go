package jinja

import (
	"strings"
	"time"
)

// Template is a parsed template. Several goroutines may render it at once.
type Template struct {
	body       []stmt
	generation bool
}

// MarksGeneration tells whether the template says, with {% generation %}, what the assistant writes.
func (t *Template) MarksGeneration() bool { return t.generation }

// maxSource is the longest template in bytes; the longest real ones have some ten thousand.
const maxSource = 4 << 20

// Parse reads a template. The error is an *Error.
func Parse(src string) (t *Template, err error) {
	defer func() {
		if e := failure(recover()); e != nil {
			err = e
		}
	}()
	if len(src) > maxSource {
		fail("a template of %d bytes: more than %d MiB are not read", len(src), maxSource>>20)
	}
	p := &parser{tokens: lex(src)}
	body, _ := p.block()
	return &Template{body, p.generation}, nil
}

// Rendered is what a template writes.
type Rendered struct {
	Text        string
	Generations [][2]int // bytes [from, to) of Text that were written within {% generation %}
}

// Render runs the template with the given names set. Values are nil, bool, int64, float64, string, *List and *Dict.
// The error is an *Error: the template failed, refused its input, or took more than it may.
func (t *Template) Render(names map[string]any) (r Rendered, err error) {
	defer func() {
		if e := failure(recover()); e != nil {
			err = e
		}
	}()
	s := &state{out: &strings.Builder{}, left: maxSteps, room: maxMade}
	root := &scope{names: map[string]any{}}
	for n, v := range names {
		root.names[n] = v
	}
	s.scope = root
	s.run(t.body)
	return Rendered{s.out.String(), s.spans}, nil
}

// clock is replaced in tests.
var clock = time.Now

// globals are what every template may call.
var globals = map[string]any{
	"range": function(func(s *state, c *call) any {
		lo, hi, by := int64(0), int64(0), int64(1)
		var n []int64
		for _, v := range c.args {
			i, ok := v.(int64)
			if !ok {
				fail("range takes whole numbers, not %s", kindName(v))
			}
			n = append(n, i)
		}
		switch len(n) {
		case 1:
			hi = n[0]
		case 2:
			lo, hi = n[0], n[1]
		case 3:
			lo, hi, by = n[0], n[1], n[2]
		default:
			fail("range takes one to three numbers, not %d", len(n))
		}
		if by == 0 {
			fail("range by steps of 0")
		}
		const most = 100000 // as in Jinja's sandbox
		out := &List{}
		for i := lo; by > 0 && i < hi || by < 0 && i > hi; i += by {
			if len(out.Items) == most {
				fail("a range of more than %d numbers", most)
			}
			s.step(1)
			out.Items = append(out.Items, i)
		}
		return out
	}),
	"dict": function(func(_ *state, c *call) any {
		d := NewDict()
		for _, a := range c.args {
			given, ok := a.(*Dict)
			if !ok {
				fail("dict takes a mapping and named arguments, not %s", kindName(a))
			}
			for _, k := range given.keys {
				v, _ := given.Get(k)
				d.Set(k, v)
			}
		}
		for _, n := range c.named {
			d.Set(n.name, n.value)
		}
		return d
	}),
	"namespace": function(func(s *state, c *call) any {
		ns := &namespace{map[string]any{}}
		for _, a := range c.args {
			d, ok := a.(*Dict)
			if !ok {
				fail("namespace takes a mapping and named arguments, not %s", kindName(a))
			}
			for _, k := range d.keys {
				ns.values[s.str(k)], _ = d.Get(k)
			}
		}
		for _, n := range c.named {
			ns.values[n.name] = n.value
		}
		return ns
	}),
	"raise_exception": function(func(s *state, c *call) any {
		panic(&Error{Msg: s.str(or(c.take("message")[0], "")), Raised: true})
	}),
	"strftime_now": function(func(_ *state, c *call) any { return strftime(clock(), c.text("format")[0]) }),
}
