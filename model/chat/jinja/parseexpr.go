package jinja

import "strings"

// expression parses a conditional expression.
func (p *parser) expression() expr {
	p.enter()
	defer p.leave()
	e := p.or()
	for p.isName("if") {
		p.next()
		c := conditional{yes: e, cond: p.or()}
		if p.isName("else") {
			p.next()
			c.no = p.expression()
		}
		e = c
	}
	return e
}

// tuple parses expressions with commas between them; one alone, without a comma, is itself.
func (p *parser) tuple() expr {
	e := p.expression()
	if !p.isOp(",") {
		return e
	}
	list := listExpr{items: []expr{e}, tuple: true}
	for p.isOp(",") {
		p.next()
		if k := p.peek(); k.kind == blockEnd || k.kind == variableEnd || p.isOp(")") {
			break
		}
		list.items = append(list.items, p.expression())
	}
	return list
}

func (p *parser) or() expr {
	e := p.and()
	for p.isName("or") {
		p.next()
		e = logic{false, e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.isName("and") {
		p.next()
		e = logic{true, e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if p.isName("not") {
		p.enter()
		defer p.leave()
		p.next()
		return notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	c := comparison{first: p.sum()}
	for {
		op := ""
		switch t := p.peek(); {
		case t.kind == operator && strings.Contains(" == != < > <= >= ", " "+t.val+" "):
			op = t.val
		case p.isName("in"):
			op = "in"
		case p.isName("not") && p.tokens[p.at+1].kind == name && p.tokens[p.at+1].val == "in":
			op = "not in"
			p.next()
		}
		if op == "" {
			break
		}
		p.next()
		c.ops, c.rest = append(c.ops, op), append(c.rest, p.sum())
	}
	if c.ops == nil {
		return c.first
	}
	return c
}

// levels are the operators that bind ever tighter.
var levels = []string{" + - ", " ~ ", " * / // % ", " ** "}

func (p *parser) sum() expr { return p.level(0) }

func (p *parser) level(n int) expr {
	if n == len(levels) {
		return p.unary(true)
	}
	e := p.level(n + 1)
	for t := p.peek(); t.kind == operator && strings.Contains(levels[n], " "+t.val+" "); t = p.peek() {
		p.next()
		e = binaryExpr{t.val, e, p.level(n + 1)}
	}
	return e
}

func (p *parser) unary(filtered bool) expr {
	p.enter()
	defer p.leave()
	var e expr
	switch {
	case p.isOp("-"):
		p.next()
		e = unary{p.unary(false)}
	case p.isOp("+"):
		p.next()
		e = p.unary(false)
	default:
		e = p.primary()
	}
	e = p.postfix(e)
	if filtered {
		e = p.filtered(e)
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case name:
		switch t.val {
		case "true", "True":
			return literal{true}
		case "false", "False":
			return literal{false}
		case "none", "None":
			return literal{nil}
		}
		return variable{t.val}
	case text:
		s := t.val
		for p.peek().kind == text {
			s += p.next().val
		}
		return literal{s}
	case integer:
		return literal{integerOf(t.val)}
	case float:
		return literal{floatOf(t.val)}
	}
	if t.kind == operator {
		switch t.val {
		case "(":
			if p.isOp(")") {
				p.next()
				return listExpr{tuple: true}
			}
			e := p.tuple()
			p.expect(")")
			return e
		case "[":
			list := listExpr{}
			p.sequence("]", func() { list.items = append(list.items, p.expression()) })
			return list
		case "{":
			d := dictExpr{}
			p.sequence("}", func() {
				d.keys = append(d.keys, p.expression())
				p.expect(":")
				d.values = append(d.values, p.expression())
			})
			return d
		}
	}
	failAt(t.line, "%s where a value was expected", t.describe())
	return nil
}

// sequence parses elements up to a closing bracket; a comma may follow the last.
func (p *parser) sequence(closing string, element func()) {
	for !p.isOp(closing) {
		element()
		if p.isOp(closing) {
			break
		}
		p.expect(",")
	}
	p.next()
}

// postfix parses what follows a value: attributes, items, calls.
func (p *parser) postfix(e expr) expr {
	for {
		switch {
		case p.isOp("."):
			p.next()
			t := p.next()
			switch t.kind {
			case name:
				e = attribute{e, t.val}
			case integer:
				e = item{e, literal{integerOf(t.val)}}
			default:
				failAt(t.line, "%s where a name was expected after the dot", t.describe())
			}
		case p.isOp("["):
			p.next()
			e = p.subscript(e)
		case p.isOp("("):
			e = callExpr{e, p.arguments()}
		default:
			return e
		}
	}
}

func (p *parser) subscript(of expr) expr {
	var bounds []expr
	colons := 0
	for !p.isOp("]") {
		if p.isOp(":") {
			p.next()
			if colons++; len(bounds) < colons {
				bounds = append(bounds, nil)
			}
			continue
		}
		if len(bounds) != colons {
			p.expect("]")
		}
		bounds = append(bounds, p.tuple())
	}
	t := p.next()
	for len(bounds) < 3 {
		bounds = append(bounds, nil)
	}
	switch {
	case colons > 2 || colons == 0 && bounds[0] == nil:
		failAt(t.line, "no subscript")
	case colons > 0:
		return sliceExpr{of, bounds[0], bounds[1], bounds[2]}
	}
	return item{of, bounds[0]}
}

func (p *parser) arguments() arguments {
	p.expect("(")
	var a arguments
	p.sequence(")", func() {
		if t := p.peek(); t.kind == name && p.tokens[p.at+1].kind == operator && p.tokens[p.at+1].val == "=" {
			p.next()
			p.next()
			a.names, a.values = append(a.names, t.val), append(a.values, p.expression())
			return
		}
		if a.names != nil {
			failAt(p.peek().line, "an argument without a name follows one with a name")
		}
		a.args = append(a.args, p.expression())
	})
	return a
}

// filtered parses filters, tests and calls of what they give.
func (p *parser) filtered(e expr) expr {
	for {
		switch {
		case p.isOp("|"):
			p.next()
			e = p.filter(e)
		case p.isName("is"):
			p.next()
			e = p.test(e)
		case p.isOp("("):
			e = callExpr{e, p.arguments()}
		default:
			return e
		}
	}
}

func (p *parser) filter(of expr) expr {
	t := p.ident()
	if filters[t.val] == nil {
		failAt(t.line, "no filter %q is known", t.val)
	}
	f := filterExpr{of: of, name: t.val}
	if p.isOp("(") {
		f.args = p.arguments()
	}
	return f
}

func (p *parser) test(of expr) expr {
	negated := p.isName("not")
	if negated {
		p.next()
	}
	t := p.ident()
	if tests[t.val] == nil {
		failAt(t.line, "no test %q is known", t.val)
	}
	f := testExpr{of: of, name: t.val}
	switch n := p.peek(); {
	case p.isOp("("):
		f.args = p.arguments()
	case n.kind == name && strings.Contains(" else or and is if in not ", " "+n.val+" "):
	case n.kind == name || n.kind == text || n.kind == integer || n.kind == float || p.isOp("[") || p.isOp("{"):
		f.args.args = []expr{p.postfix(p.primary())}
	}
	if negated {
		return notExpr{f}
	}
	return f
}
