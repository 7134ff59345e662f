package jinja

import "strings"

// Limits of one rendering. A template comes with a model that somebody else made: it may not take the process's time or
// memory, whatever it says. The largest real templates take some thousand steps for a conversation.
const (
	maxSteps = 4 << 20  // evaluated nodes, items gone through, 64 bytes searched
	maxMade  = 64 << 20 // bytes of text that are made on the way
	maxText  = 16 << 20 // bytes of output
	maxDepth = 200      // of nesting, in the source, in values, and of calls
)

// state is one rendering.
type state struct {
	out   *strings.Builder
	inner int // captures that are open: what is written is a value's text and not the output's
	scope *scope
	left  int // steps
	room  int // bytes
	depth int // of calls
	spans [][2]int
}

// step counts work.
func (s *state) step(n int) {
	if s.left -= n; s.left < 0 {
		fail("the template takes more than %d steps", maxSteps)
	}
}

// made counts bytes of new text.
func (s *state) made(n int) {
	if s.room -= n; s.room < 0 {
		fail("the template makes more than %d MiB of text", maxMade>>20)
	}
}

// write adds to the output.
func (s *state) write(t string) {
	s.made(len(t))
	if s.out.Len()+len(t) > maxText {
		fail("the output is longer than %d MiB", maxText>>20)
	}
	s.out.WriteString(t)
}

// capture runs body and returns what it writes.
func (s *state) capture(body func()) string {
	old := s.out
	var b strings.Builder
	s.out = &b
	s.inner++
	body()
	s.inner--
	s.out = old
	return b.String()
}

// deeper runs body one level of calls deeper.
func (s *state) deeper(body func()) {
	if s.depth++; s.depth > maxDepth {
		fail("calls are nested more than %d deep", maxDepth)
	}
	body()
	s.depth--
}

// scope is the names that are set: those of a loop's round or a macro's body, then those around it.
type scope struct {
	names  map[string]any
	parent *scope
}

func (c *scope) get(name string) (any, bool) {
	for ; c != nil; c = c.parent {
		if v, ok := c.names[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// within runs body in a scope of its own below parent.
func (s *state) within(parent *scope, names map[string]any, body func()) {
	old := s.scope
	s.scope = &scope{names, parent}
	body()
	s.scope = old
}
