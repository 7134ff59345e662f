package jinja

import "strings"

// signal is how a statement ends.
type signal int

const (
	goesOn signal = iota
	breaks
	continues
)

// stmt is a statement.
type stmt interface{ exec(s *state) signal }

// run executes statements until one leaves the loop's round.
func (s *state) run(body []stmt) signal {
	for _, x := range body {
		s.step(1)
		if sig := x.exec(s); sig != goesOn {
			return sig
		}
	}
	return goesOn
}

type textStmt string

func (t textStmt) exec(s *state) signal {
	s.write(string(t))
	return goesOn
}

type outputStmt struct {
	line  int
	value expr
}

func (o outputStmt) exec(s *state) signal {
	defer func() { placed(recover(), o.line) }()
	s.write(s.str(o.value.eval(s)))
	return goesOn
}

type jump signal

func (j jump) exec(*state) signal { return signal(j) }

type ifStmt struct {
	line      int
	conds     []expr
	bodies    [][]stmt
	otherwise []stmt
}

func (i ifStmt) exec(s *state) signal {
	for n, c := range i.conds {
		if i.holds(s, c) {
			return s.run(i.bodies[n])
		}
	}
	return s.run(i.otherwise)
}

func (i ifStmt) holds(s *state, c expr) bool {
	defer func() { placed(recover(), i.line) }()
	return truth(c.eval(s))
}

// setStmt sets names of the scope, or a field of a namespace.
type setStmt struct {
	line  int
	names []string
	field string
	value expr
}

func (t setStmt) exec(s *state) signal {
	defer func() { placed(recover(), t.line) }()
	v := t.value.eval(s)
	if t.field == "" {
		s.unpack(s.scope.names, t.names, v)
		return goesOn
	}
	of, _ := s.scope.get(t.names[0])
	ns, ok := of.(*namespace)
	if !ok {
		fail("only a namespace has fields to set, and %s is none", t.names[0])
	}
	ns.values[t.field] = v
	return goesOn
}

// unpack sets one name to a value, or several to its items.
func (s *state) unpack(into map[string]any, names []string, v any) {
	if len(names) == 1 {
		into[names[0]] = v
		return
	}
	items := s.items(v)
	if len(items) != len(names) {
		fail("%d items for the %d names %s", len(items), len(names), strings.Join(names, ", "))
	}
	for i, n := range names {
		into[n] = items[i]
	}
}

// blockExpr is the text that a block writes, through filters of blockText.
type blockExpr struct {
	body     []stmt
	filtered expr
}

func (b blockExpr) eval(s *state) (v any) {
	text := s.capture(func() { s.within(s.scope, map[string]any{}, func() { s.run(b.body) }) })
	s.within(s.scope, map[string]any{blockName: text}, func() { v = b.filtered.eval(s) })
	return v
}

// blockText stands, in the filters of a block, for the block's text.
type blockText struct{}

// blockName is what the text is called meanwhile; no template can spell it.
const blockName = "{block}"

func (blockText) eval(s *state) any {
	v, _ := s.scope.get(blockName)
	return v
}

type withStmt struct {
	line   int
	names  []string
	values []expr
	body   []stmt
}

func (w withStmt) exec(s *state) (sig signal) {
	names := map[string]any{}
	for i, n := range w.names {
		names[n] = w.values[i].eval(s)
	}
	s.within(s.scope, names, func() { sig = s.run(w.body) })
	return sig
}

// generationStmt is what the assistant says: its place in the output is noted.
type generationStmt []stmt

func (g generationStmt) exec(s *state) signal {
	from := s.out.Len()
	s.within(s.scope, map[string]any{}, func() { s.run(g) })
	if s.inner == 0 {
		s.spans = append(s.spans, [2]int{from, s.out.Len()})
	}
	return goesOn
}

// macro is a function that the template defines.
type macro struct {
	name     string
	params   []string
	defaults []expr // nil = none
	body     []stmt
	scope    *scope // where it was defined
}

type macroStmt struct {
	line int
	macro
}

func (m macroStmt) exec(s *state) signal {
	defined := m.macro
	defined.scope = s.scope
	s.scope.names[m.name] = &defined
	return goesOn
}

// call runs the macro's body and returns its text.
func (m *macro) call(s *state, c *call) (text string) {
	names := map[string]any{}
	named := c.named
	if n := len(named); n > 0 && named[n-1].name == "caller" {
		names["caller"], named = named[n-1].value, named[:n-1]
	}
	own := call{name: m.name, args: c.args, named: named}
	values := own.take(m.params...)
	s.deeper(func() {
		s.within(m.scope, names, func() {
			for i, p := range m.params {
				switch {
				case given(values[i]):
					names[p] = values[i]
				case m.defaults[i] != nil:
					names[p] = m.defaults[i].eval(s)
				default:
					names[p] = undefined{"parameter '" + p + "' of " + m.name}
				}
			}
			text = s.capture(func() { s.run(m.body) })
		})
	})
	return text
}

// callStmt calls a macro that may call the block's body back.
type callStmt struct {
	line   int
	call   callExpr
	caller macro
}

func (c callStmt) exec(s *state) signal {
	defer func() { placed(recover(), c.line) }()
	caller := c.caller
	caller.scope = s.scope
	args := c.call.args.call(s, sourceName(c.call.fn))
	args.named = append(args.named, namedArg{"caller", &caller})
	s.write(s.str(s.call(c.call.fn.eval(s), args)))
	return goesOn
}

// call calls a value.
func (s *state) call(fn any, c *call) any {
	switch f := fn.(type) {
	case *macro:
		return f.call(s, c)
	case function:
		return f(s, c)
	case *loop:
		return f.again(s, c)
	case undefined:
		f.fail()
	}
	fail("%s cannot be called", kindName(fn))
	return nil
}
