package jinja

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what a token is.
type kind int

const (
	eof kind = iota
	data
	variableBegin
	variableEnd
	blockBegin
	blockEnd
	name
	text
	integer
	float
	operator
)

// token is a piece of the source; of data and text, val is what it means.
type token struct {
	kind kind
	val  string
	line int
}

// lexer cuts a template into tokens, with trim_blocks and lstrip_blocks on: the newline after a block's tag, and white
// space before it on its line, are no output. "-" in a tag strips all white space, "+" keeps what would go.
type lexer struct {
	src       string
	pos       int
	line      int // of the byte at counted
	counted   int
	lineStart bool // what was taken last ended a line
	out       []token
}

var (
	rawBegin = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(?:-%\}\s*|%\})`)
	rawEnd   = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)`)
	number   = regexp.MustCompile(`^(?:0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|\d+(?:_\d+)*)`)
	fraction = regexp.MustCompile(`^\d+(?:_\d+)*(?:(?:\.\d+(?:_\d+)*)?[eE][-+]?\d+(?:_\d+)*|\.\d+(?:_\d+)*)`)
	quoted   = regexp.MustCompile(`^(?s:'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")`)
)

// operators, the longer first.
var operators = []string{"//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", "<", ">", "=", ".", ":", "|", ",", ";"}

// lex cuts a template into tokens; it fails by panic, as parsing does.
func lex(src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.emit(eof, "")
	return l.out
}

func (l *lexer) emit(k kind, val string) { l.out = append(l.out, token{k, val, l.lineAt(l.pos)}) }

// lineAt counts the lines up to a place; places do not go back.
func (l *lexer) lineAt(pos int) int {
	if pos > l.counted {
		l.line += strings.Count(l.src[l.counted:pos], "\n")
		l.counted = pos
	}
	return l.line
}

// root takes text up to the next tag, and the tag.
func (l *lexer) root() {
	rest := l.src[l.pos:]
	at := -1
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && strings.IndexByte("{%#", rest[i+1]) >= 0 {
			at = i
			break
		}
	}
	if at < 0 {
		l.emit(data, rest)
		l.pos = len(l.src)
		return
	}
	tag := rest[at+1]
	sign := byte(0)
	if at+2 < len(rest) && (rest[at+2] == '-' || rest[at+2] == '+') {
		sign = rest[at+2]
	}
	l.text(rest[:at], sign, tag != '{')
	l.pos += at
	if tag == '%' {
		if m := rawBegin.FindString(rest[at:]); m != "" {
			l.take(len(m))
			l.raw()
			return
		}
	}
	n := 2
	if sign != 0 {
		n++
	}
	switch tag {
	case '#':
		l.take(n)
		l.comment()
	case '%':
		l.emit(blockBegin, "")
		l.take(n)
		l.code(blockEnd)
	default:
		l.emit(variableBegin, "")
		l.take(n)
		l.code(variableEnd)
	}
}

// take moves on by n bytes.
func (l *lexer) take(n int) {
	if n > 0 {
		l.lineStart = l.src[l.pos+n-1] == '\n'
	}
	l.pos += n
}

// text emits what is before a tag: sign is the tag's, and own tells whether a tag alone on its line takes the line's
// indentation away.
func (l *lexer) text(s string, sign byte, own bool) {
	switch {
	case sign == '-':
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	case sign == 0 && own:
		begin := strings.LastIndexByte(s, '\n') + 1
		if (begin > 0 || l.lineStart) && strings.TrimSpace(s[begin:]) == "" {
			s = s[:begin]
		}
	}
	if s != "" {
		l.emit(data, s)
	}
}

// end is the length of a tag's end at the start of s: close with its sign, and the white space that goes with it.
func end(s, closing string, trim bool) int {
	n := len(closing)
	switch {
	case strings.HasPrefix(s, "-"+closing):
		rest := s[n+1:]
		return n + 1 + len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace))
	case trim && strings.HasPrefix(s, "+"+closing):
		return n + 1
	case !strings.HasPrefix(s, closing):
		return 0
	case trim && len(s) > n && s[n] == '\n':
		return n + 1
	}
	return n
}

func (l *lexer) comment() {
	rest := l.src[l.pos:]
	at := strings.Index(rest, "#}")
	if at < 0 {
		failAt(l.lineAt(l.pos), "a comment does not end: write #}")
	}
	if at > 0 && (rest[at-1] == '-' || rest[at-1] == '+') {
		at--
	}
	l.take(at)
	l.take(end(l.src[l.pos:], "#}", true))
}

func (l *lexer) raw() {
	rest := l.src[l.pos:]
	m := rawEnd.FindStringSubmatchIndex(rest)
	if m == nil {
		failAt(l.lineAt(l.pos), "raw text does not end: write {%% endraw %%}")
	}
	sign := byte(0)
	if m[2] < m[3] {
		sign = rest[m[2]]
	}
	l.text(rest[:m[0]], sign, true)
	l.take(m[1])
}

// code takes the tokens of a tag up to its end. What closes a tag does not within brackets.
func (l *lexer) code(closing kind) {
	mark, trim := "%}", true
	if closing == variableEnd {
		mark, trim = "}}", false
	}
	var open []byte
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		if n := end(rest, mark, trim); n > 0 && len(open) == 0 {
			l.emit(closing, "")
			l.take(n)
			return
		}
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(r):
			l.take(size)
		case r >= '0' && r <= '9':
			l.number(rest)
		case r == '_' || unicode.IsLetter(r):
			n := strings.IndexFunc(rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
			if n < 0 {
				n = len(rest)
			}
			l.emit(name, rest[:n])
			l.take(n)
		case r == '\'' || r == '"':
			m := quoted.FindString(rest)
			if m == "" {
				failAt(l.lineAt(l.pos), "a string does not end")
			}
			l.emit(text, unescape(m[1:len(m)-1]))
			l.take(len(m))
		default:
			open = l.operator(rest, open)
		}
	}
	failAt(l.lineAt(l.pos), "a tag does not end: write %s", mark)
}

func (l *lexer) number(rest string) {
	if f := fraction.FindString(rest); f != "" && (l.pos == 0 || l.src[l.pos-1] != '.') {
		l.emit(float, strings.ReplaceAll(f, "_", ""))
		l.take(len(f))
		return
	}
	n := number.FindString(rest)
	l.emit(integer, strings.ReplaceAll(n, "_", ""))
	l.take(len(n))
}

// operator takes an operator and returns the brackets that are open after it.
func (l *lexer) operator(rest string, open []byte) []byte {
	for _, op := range operators {
		if !strings.HasPrefix(rest, op) {
			continue
		}
		switch op {
		case "(", "[", "{":
			open = append(open, map[string]byte{"(": ')', "[": ']', "{": '}'}[op])
		case ")", "]", "}":
			if len(open) == 0 || open[len(open)-1] != op[0] {
				failAt(l.lineAt(l.pos), "unexpected %q", op)
			}
			open = open[:len(open)-1]
		}
		l.emit(operator, op)
		l.take(len(op))
		return open
	}
	r, _ := utf8.DecodeRuneInString(rest)
	failAt(l.lineAt(l.pos), "unexpected %q", r)
	return nil
}

var escapes = regexp.MustCompile(`(?s)\\(?:[0-7]{1,3}|x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|.)`)

// unescape is Python's reading of a string literal.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return escapes.ReplaceAllStringFunc(s, func(m string) string {
		switch c := m[1]; {
		case c == '\n':
			return ""
		case strings.IndexByte(`\'"`, c) >= 0:
			return m[1:]
		case strings.IndexByte("abfnrtv", c) >= 0:
			return string("\a\b\f\n\r\t\v"[strings.IndexByte("abfnrtv", c)])
		case c >= '0' && c <= '7':
			return string(rune(digits(m[1:], 8)))
		case len(m) > 2:
			return string(rune(digits(m[2:], 16)))
		}
		return m
	})
}
