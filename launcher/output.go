package launcher

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// console writes whole lines of several ranks to one writer.
type console struct {
	mu    sync.Mutex
	w     io.Writer // protected by mu
	muted bool      // ranks are not shown; protected by mu
}

// mute shows the ranks' output or not: what ranks say when they are aborted would bury the verdict.
func (c *console) mute(muted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = muted
}

// stream is a rank's stream on the console: each line gets the prefix, and no line is torn by another rank's. A console that
// nobody reads any more, as when tee has gone, is no reason to end a rank: errors are let go; see spared.
func (c *console) stream(prefix string) *Lines {
	return &Lines{Take: func(line []byte) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.muted {
			_, _ = fmt.Fprintf(c.w, "%s%s", prefix, line)
		}
		return nil
	}}
}

// spared is a rank's log, which the rank outlives: what comes after it could not be written, as on a full disk, is
// dropped. An error would close the pipe that the rank writes to, and so end the rank.
type spared struct {
	lost func(error) // told of it once

	mu   sync.Mutex
	log  io.Writer // protected by mu
	over bool      // protected by mu
}

func (s *spared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		if _, err := s.log.Write(b); err != nil {
			s.over = true
			s.lost(err)
		}
	}
	return len(b), nil
}

// tail keeps the end of a stream.
type tail struct {
	mu  sync.Mutex
	buf []byte // protected by mu
}

// tailBytes is how much of a rank's stderr goes into a verdict.
const tailBytes = 2048

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b[max(0, len(b)-tailBytes):]...)
	t.buf = t.buf[max(0, len(t.buf)-tailBytes):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, nil))
}
