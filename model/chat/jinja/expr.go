package jinja

// expr is an expression.
type expr interface{ eval(s *state) any }

type (
	literal  struct{ value any }
	variable struct{ name string }
	listExpr struct {
		items []expr
		tuple bool
	}
	dictExpr  struct{ keys, values []expr }
	attribute struct {
		of   expr
		name string
	}
	item      struct{ of, key expr }
	sliceExpr struct{ of, lo, hi, step expr } // bounds may be nil
	callExpr  struct {
		fn   expr
		args arguments
	}
	filterExpr struct {
		of   expr
		name string
		args arguments
	}
	testExpr   filterExpr
	unary      struct{ of expr } // -x
	notExpr    struct{ of expr }
	binaryExpr struct {
		op   string
		a, b expr
	}
	logic struct { // and, or
		and  bool
		a, b expr
	}
	comparison struct {
		first expr
		ops   []string
		rest  []expr
	}
	conditional struct{ cond, yes, no expr } // no may be nil
)

// arguments are those of a call in the source.
type arguments struct {
	args   []expr
	names  []string
	values []expr
}

// call evaluates arguments.
func (a arguments) call(s *state, name string) *call {
	c := &call{name: name}
	for _, x := range a.args {
		c.args = append(c.args, x.eval(s))
	}
	for i, x := range a.values {
		c.named = append(c.named, namedArg{a.names[i], x.eval(s)})
	}
	return c
}

func (e literal) eval(*state) any { return e.value }

func (e variable) eval(s *state) any {
	s.step(1)
	if v, ok := s.scope.get(e.name); ok {
		return v
	}
	if v, ok := globals[e.name]; ok {
		return v
	}
	return undefined{"'" + e.name + "'"}
}

func (e listExpr) eval(s *state) any {
	s.step(1 + len(e.items))
	out := &List{Items: make([]any, len(e.items)), Tuple: e.tuple}
	for i, x := range e.items {
		out.Items[i] = x.eval(s)
	}
	return out
}

func (e dictExpr) eval(s *state) any {
	s.step(1 + len(e.keys))
	out := NewDict()
	for i, k := range e.keys {
		out.Set(k.eval(s), e.values[i].eval(s))
	}
	return out
}

func (e attribute) eval(s *state) any {
	s.step(1)
	return s.attribute(e.of.eval(s), e.name)
}

func (e item) eval(s *state) any {
	s.step(1)
	return s.item(e.of.eval(s), e.key.eval(s))
}

func (e sliceExpr) eval(s *state) any {
	bound := func(x expr) any {
		if x == nil {
			return nil
		}
		return x.eval(s)
	}
	return s.slice(e.of.eval(s), bound(e.lo), bound(e.hi), bound(e.step))
}

func (e callExpr) eval(s *state) any {
	s.step(1)
	fn := e.fn.eval(s)
	return s.call(fn, e.args.call(s, sourceName(e.fn)))
}

// sourceName is what a called expression is called in messages.
func sourceName(e expr) string {
	switch x := e.(type) {
	case variable:
		return x.name
	case attribute:
		return x.name
	}
	return "the function"
}

func (e filterExpr) eval(s *state) any {
	s.step(1)
	return filters[e.name](s, e.of.eval(s), e.args.call(s, e.name))
}

func (e testExpr) eval(s *state) any {
	s.step(1)
	return tests[e.name](s, e.of.eval(s), e.args.call(s, e.name))
}

func (e unary) eval(s *state) any { return s.binary("-", int64(0), e.of.eval(s)) }

func (e notExpr) eval(s *state) any { return !truth(e.of.eval(s)) }

func (e binaryExpr) eval(s *state) any {
	s.step(1)
	return s.binary(e.op, e.a.eval(s), e.b.eval(s))
}

func (e logic) eval(s *state) any {
	a := e.a.eval(s)
	if truth(a) == e.and {
		return e.b.eval(s)
	}
	return a
}

func (e comparison) eval(s *state) any {
	a := e.first.eval(s)
	for i, op := range e.ops {
		b := e.rest[i].eval(s)
		if !s.compare(op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (e conditional) eval(s *state) any {
	switch {
	case truth(e.cond.eval(s)):
		return e.yes.eval(s)
	case e.no != nil:
		return e.no.eval(s)
	}
	return undefined{"the value of an if without else"}
}
