package hub

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// watched is a body that fails when nothing comes for a while: a connection that died without a word must not hang a
// download for ever.
type watched struct {
	body    io.ReadCloser
	wait    time.Duration
	timer   *time.Timer // closes body
	stalled atomic.Bool
}

// errStalled is a network fault like any other: it is tried again.
var errStalled = fmt.Errorf("no byte came for too long: %w", io.ErrUnexpectedEOF)

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(w.wait)
	n, err := w.body.Read(p)
	w.timer.Stop() // what the reader does with the bytes may take its time
	if err != nil && w.stalled.Load() {
		err = errStalled
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	return w.body.Close()
}
