// Package syncbuf is a buffer for what several goroutines write, for tests that look at it meanwhile.
package syncbuf

import (
	"bytes"
	"sync"
)

// Buffer collects what is written to it. The zero value is empty.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer // protected by mu
}

// Write appends b.
func (s *Buffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

// String is all that has been written so far.
func (s *Buffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
