package gossip

import (
	"sync"

	"gorun/launcher/rdzv"
)

// events hands what happens to the handler. memberlist calls back under its own lock and must not wait, so everything
// is queued here; only messages are dropped when the handler falls behind, because the core repeats them.
type events struct {
	handler Handler
	wake    chan struct{} // has a token when there is something to do

	mu     sync.Mutex
	queue  []func(Handler) // protected by mu
	mail   int             // messages in queue; protected by mu
	closed bool            // protected by mu
}

// maxMail is how many messages wait at most.
const maxMail = 4096

func newEvents(h Handler) *events { return &events{handler: h, wake: make(chan struct{}, 1)} }

func (e *events) joined(m rdzv.Member) { e.add(func(h Handler) { h.Joined(m) }) }
func (e *events) lost(id string)       { e.add(func(h Handler) { h.Lost(id) }) }
func (e *events) refused(err error)    { e.add(func(h Handler) { h.Refused(err) }) }

func (e *events) received(m rdzv.Message) {
	e.mu.Lock()
	full := e.mail >= maxMail
	if !full {
		e.mail++
	}
	e.mu.Unlock()
	if full {
		return
	}
	e.add(func(h Handler) {
		e.mu.Lock()
		e.mail--
		e.mu.Unlock()
		h.Received(m)
	})
}

func (e *events) add(f func(Handler)) {
	e.mu.Lock()
	e.queue = append(e.queue, f)
	e.mu.Unlock()
	e.signal()
}

func (e *events) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// run calls the handler until close.
func (e *events) run() {
	for range e.wake {
		for {
			f, ok := e.next()
			if !ok {
				return
			}
			if f == nil {
				break
			}
			f(e.handler)
		}
	}
}

// next returns what is to be done, nil if nothing is; not ok after close.
func (e *events) next() (f func(Handler), ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, false
	}
	if len(e.queue) == 0 {
		return nil, true
	}
	f, e.queue = e.queue[0], e.queue[1:]
	return f, true
}

func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.signal()
}
