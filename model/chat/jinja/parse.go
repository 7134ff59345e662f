package jinja

import (
	"math/big"
	"strconv"
	"strings"
)

// parser turns tokens into statements.
type parser struct {
	tokens []token
	at     int
	depth  int

	generation bool // {% generation %} was seen
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != eof {
		p.at++
	}
	return t
}

func (p *parser) isOp(op string) bool {
	t := p.peek()
	return t.kind == operator && t.val == op
}

func (p *parser) isName(n string) bool {
	t := p.peek()
	return t.kind == name && t.val == n
}

// expect takes an operator.
func (p *parser) expect(op string) {
	if t := p.next(); t.kind != operator || t.val != op {
		failAt(t.line, "%s where %q was expected", t.describe(), op)
	}
}

// ident takes a name.
func (p *parser) ident() token {
	t := p.next()
	if t.kind != name {
		failAt(t.line, "%s where a name was expected", t.describe())
	}
	return t
}

// keyword takes a given name.
func (p *parser) keyword(n string) {
	if t := p.next(); t.kind != name || t.val != n {
		failAt(t.line, "%s where %q was expected", t.describe(), n)
	}
}

// endTag takes the end of a tag.
func (p *parser) endTag(k kind) {
	if t := p.next(); t.kind != k {
		failAt(t.line, "%s where the tag should end", t.describe())
	}
}

// enter and leave bound how deep a source may be nested.
func (p *parser) enter() {
	if p.depth++; p.depth > maxDepth {
		failAt(p.peek().line, "nested more than %d deep", maxDepth)
	}
}

func (p *parser) leave() { p.depth-- }

// describe names a token for messages.
func (t token) describe() string {
	switch t.kind {
	case eof:
		return "the end of the template"
	case data:
		return "text"
	case blockBegin, variableBegin:
		return "the start of a tag"
	case blockEnd, variableEnd:
		return "the end of the tag"
	}
	return strconv.Quote(t.val)
}

// integerOf reads a literal: Python's prefixes, any size.
func integerOf(s string) any {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil && (len(s) == 1 || s[0] != '0' || s[1] > '9') {
		return n
	}
	n, ok := new(big.Int).SetString(strings.TrimLeft(s, "0"), 10)
	switch {
	case strings.Trim(s, "0") == "":
		return int64(0)
	case !ok:
		fail("%s is no number", s)
	case n.IsInt64():
		return n.Int64()
	}
	return n
}

func floatOf(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && f == 0 {
		fail("%s is no number", s)
	}
	return f
}

// block parses statements up to a tag of one of the given names, which it takes; the caller goes on within that tag. No
// names: up to the end of the template.
func (p *parser) block(ends ...string) (body []stmt, ended string) {
	p.enter()
	defer p.leave()
	for {
		t := p.next()
		switch t.kind {
		case data:
			body = append(body, textStmt(t.val))
		case variableBegin:
			body = append(body, outputStmt{t.line, p.tuple()})
			p.endTag(variableEnd)
		case blockBegin:
			n := p.ident()
			for _, e := range ends {
				if n.val == e {
					return body, e
				}
			}
			parse, ok := statements[n.val]
			if !ok {
				p.unknown(n, ends)
			}
			body = append(body, parse(p, n.line))
		case eof:
			if ends != nil {
				failAt(t.line, "the template ends where {%% %s %%} was expected", strings.Join(ends, " or "))
			}
			return body, ""
		}
	}
}

// unknown refuses a tag.
func (p *parser) unknown(t token, ends []string) {
	switch {
	case strings.HasPrefix(t.val, "end") || t.val == "else" || t.val == "elif":
		if ends != nil {
			failAt(t.line, "{%% %s %%} where {%% %s %%} was expected", t.val, strings.Join(ends, " or "))
		}
		failAt(t.line, "{%% %s %%} ends nothing", t.val)
	case strings.Contains(" include import from extends block ", " "+t.val+" "):
		failAt(t.line, "{%% %s %%} is about other templates, and a chat template is alone", t.val)
	}
	failAt(t.line, "no tag %q is known", t.val)
}

// statements parse tags from after their name on.
var statements map[string]func(p *parser, line int) stmt

func init() { // the parsers refer to the table
	statements = map[string]func(p *parser, line int) stmt{
		"if": parseIf, "for": parseFor, "set": parseSet, "macro": parseMacro, "call": parseCall, "filter": parseFilter,
		"with": parseWith, "generation": parseGeneration,
		"break":    func(p *parser, _ int) stmt { p.endTag(blockEnd); return jump(breaks) },
		"continue": func(p *parser, _ int) stmt { p.endTag(blockEnd); return jump(continues) },
	}
}

// body parses a block with one end, and the end's tag.
func (p *parser) body(ends string) []stmt {
	body, _ := p.block(ends)
	p.endTag(blockEnd)
	return body
}

func parseIf(p *parser, line int) stmt {
	s := ifStmt{line: line}
	for {
		s.conds = append(s.conds, p.tuple())
		p.endTag(blockEnd)
		body, ended := p.block("elif", "else", "endif")
		s.bodies = append(s.bodies, body)
		if ended == "elif" {
			continue
		}
		p.endTag(blockEnd)
		if ended == "else" {
			s.otherwise = p.body("endif")
		}
		return s
	}
}

func parseFor(p *parser, line int) stmt {
	s := &forStmt{line: line, targets: p.targets()}
	p.keyword("in")
	s.over = p.iterated()
	if p.isName("if") {
		p.next()
		s.cond = p.expression()
	}
	if p.isName("recursive") {
		p.next()
		s.recursive = true
	}
	p.endTag(blockEnd)
	body, ended := p.block("else", "endfor")
	s.body = body
	p.endTag(blockEnd)
	if ended == "else" {
		s.otherwise = p.body("endfor")
	}
	return s
}

// iterated parses what a loop goes over: an "if" after it is the loop's.
func (p *parser) iterated() expr {
	e := p.or()
	if !p.isOp(",") {
		return e
	}
	list := listExpr{items: []expr{e}, tuple: true}
	for p.isOp(",") {
		p.next()
		list.items = append(list.items, p.or())
	}
	return list
}

// targets parses names, with commas between them and brackets around them or not.
func (p *parser) targets() []string {
	bracket := p.isOp("(")
	if bracket {
		p.next()
	}
	out := []string{p.ident().val}
	for p.isOp(",") {
		p.next()
		if p.peek().kind != name {
			break
		}
		out = append(out, p.ident().val)
	}
	if bracket {
		p.expect(")")
	}
	return out
}

func parseSet(p *parser, line int) stmt {
	s := setStmt{line: line, names: p.targets()}
	if p.isOp(".") {
		p.next()
		s.field = p.ident().val
	}
	if p.isOp("=") {
		p.next()
		s.value = p.tuple()
		p.endTag(blockEnd)
		return s
	}
	if len(s.names) > 1 {
		failAt(line, "a block is set to one name")
	}
	filtered := p.filtered(blockText{})
	p.endTag(blockEnd)
	s.value = blockExpr{p.body("endset"), filtered}
	return s
}

func parseFilter(p *parser, line int) stmt {
	filtered := p.filtered(p.filter(blockText{}))
	p.endTag(blockEnd)
	return outputStmt{line, blockExpr{p.body("endfilter"), filtered}}
}

// signature parses the parameters of a macro.
func (p *parser) signature(m *macro) {
	p.expect("(")
	p.sequence(")", func() {
		m.params = append(m.params, p.ident().val)
		var def expr
		if p.isOp("=") {
			p.next()
			def = p.expression()
		}
		m.defaults = append(m.defaults, def)
	})
}

func parseMacro(p *parser, line int) stmt {
	m := macro{name: p.ident().val}
	p.signature(&m)
	p.endTag(blockEnd)
	m.body = p.body("endmacro")
	return macroStmt{line, m}
}

func parseCall(p *parser, line int) stmt {
	s := callStmt{line: line, caller: macro{name: "caller"}}
	if p.isOp("(") {
		p.signature(&s.caller)
	}
	e, ok := p.expression().(callExpr)
	if !ok {
		failAt(line, "{%% call %%} calls a macro: {%% call name(...) %%}")
	}
	s.call = e
	p.endTag(blockEnd)
	s.caller.body = p.body("endcall")
	return s
}

func parseWith(p *parser, line int) stmt {
	s := withStmt{line: line}
	for p.peek().kind != blockEnd {
		if s.names != nil {
			p.expect(",")
		}
		s.names = append(s.names, p.ident().val)
		p.expect("=")
		s.values = append(s.values, p.expression())
	}
	p.endTag(blockEnd)
	s.body = p.body("endwith")
	return s
}

func parseGeneration(p *parser, _ int) stmt {
	p.endTag(blockEnd)
	p.generation = true
	return generationStmt(p.body("endgeneration"))
}
