package jinja

import (
	"fmt"
	"strconv"
)

// Error is what is wrong with a template, or what it found wrong with its input.
type Error struct {
	Line   int // of the template, from 1; 0 = unknown
	Msg    string
	Raised bool // by the template itself, through raise_exception
}

// Error says where and what.
func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
	}
	return e.Msg
}

// failAt ends parsing or rendering; failure turns it into an error. An interpreter's every step can fail, and almost no
// step does anything about it, so this package panics with *Error within itself, as encoding/json does.
func failAt(line int, format string, args ...any) {
	panic(&Error{Line: line, Msg: fmt.Sprintf(format, args...)})
}

// fail is failAt where the line is not known yet: the nearest statement adds it.
func fail(format string, args ...any) { failAt(0, format, args...) }

// failure is the error of what was recovered, nil if nothing was; what is no failure panics on.
func failure(recovered any) error {
	switch r := recovered.(type) {
	case nil:
		return nil
	case *Error:
		return r
	}
	panic(recovered)
}

// placed lets what was recovered panic on, and gives a failure a line if it has none.
func placed(recovered any, line int) {
	if recovered == nil {
		return
	}
	if e, ok := recovered.(*Error); ok && e.Line == 0 {
		e.Line = line
	}
	panic(recovered)
}

// digits is the number that s writes; the lexer has seen that its digits are of the base.
func digits(s string, base int) int64 {
	n, err := strconv.ParseInt(s, base, 64)
	if err != nil {
		fail("%s is too large a number", s)
	}
	return n
}
