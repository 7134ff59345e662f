package jinja

type forStmt struct {
	line            int
	targets         []string
	over, cond      expr // cond may be nil
	recursive       bool
	body, otherwise []stmt
}

func (f *forStmt) exec(s *state) signal {
	f.rounds(s, f.iterated(s), 0)
	return goesOn
}

func (f *forStmt) iterated(s *state) any {
	defer func() { placed(recover(), f.line) }()
	return f.over.eval(s)
}

// loop is what a template sees as loop.
type loop struct {
	of     *forStmt
	items  []any
	index  int // from 0
	depth  int
	before any // what changed() was last asked of
}

// rounds runs the loop over a value.
func (f *forStmt) rounds(s *state, over any, depth int) {
	items := f.chosen(s, over)
	if len(items) == 0 {
		s.within(s.scope, map[string]any{}, func() { s.run(f.otherwise) })
		return
	}
	l := &loop{of: f, items: items, depth: depth, before: missing{}}
	for i, item := range items {
		s.step(1)
		l.index = i
		names := map[string]any{"loop": l}
		f.bind(s, names, item)
		sig := goesOn
		s.within(s.scope, names, func() { sig = s.run(f.body) })
		if sig == breaks {
			return
		}
	}
}

func (f *forStmt) bind(s *state, names map[string]any, item any) {
	defer func() { placed(recover(), f.line) }()
	s.unpack(names, f.targets, item)
}

// chosen are the items that the loop's condition lets through.
func (f *forStmt) chosen(s *state, over any) []any {
	defer func() { placed(recover(), f.line) }()
	items := s.items(over)
	if f.cond == nil {
		return items
	}
	var out []any
	for _, item := range items {
		s.step(1)
		names := map[string]any{}
		s.unpack(names, f.targets, item)
		s.within(s.scope, names, func() {
			if truth(f.cond.eval(s)) {
				out = append(out, item)
			}
		})
	}
	return out
}

// again runs a recursive loop over a value of its own and returns the text.
func (l *loop) again(s *state, c *call) any {
	if !l.of.recursive {
		fail("loop(...) is for a loop that is declared recursive")
	}
	over := c.take("iterable")[0]
	if !given(over) {
		fail("loop(...) needs what to go over")
	}
	text := ""
	s.deeper(func() { text = s.capture(func() { l.of.rounds(s, over, l.depth+1) }) })
	return text
}

// field is an attribute of loop.
func (l *loop) field(name string) any {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.index + 1)
	case "index0":
		return int64(l.index)
	case "revindex":
		return int64(n - l.index)
	case "revindex0":
		return int64(n - l.index - 1)
	case "first":
		return l.index == 0
	case "last":
		return l.index == n-1
	case "length":
		return int64(n)
	case "depth":
		return int64(l.depth + 1)
	case "depth0":
		return int64(l.depth)
	case "previtem":
		if l.index > 0 {
			return l.items[l.index-1]
		}
		return undefined{"there is no previous item: loop.previtem"}
	case "nextitem":
		if l.index+1 < n {
			return l.items[l.index+1]
		}
		return undefined{"there is no next item: loop.nextitem"}
	case "cycle":
		return function(func(_ *state, c *call) any {
			if len(c.args) == 0 {
				fail("loop.cycle has nothing to choose from")
			}
			return c.args[l.index%len(c.args)]
		})
	case "changed":
		return function(func(s *state, c *call) any {
			now := tuple(c.args...)
			old, ok := l.before.(*List)
			l.before = now
			return !ok || !s.equal(old, now)
		})
	}
	return undefined{"loop." + name}
}
