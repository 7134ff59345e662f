package collective

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Loopback makes a communicator of n ranks within this process, one for each of n goroutines. A failed collective ends
// it for all of them, as does cancelling ctx.
func Loopback(ctx context.Context, name string, n int, timeout time.Duration) []*Host {
	hub := &hub{pipes: map[[2]int]chan parcel{}, dead: make(chan struct{})}
	context.AfterFunc(ctx, func() { hub.end(context.Cause(ctx)) })
	out := make([]*Host, n)
	for r := range out {
		out[r] = &Host{name: name, rank: r, size: n, wire: &thread{hub, r}, flight: newFlight(nil), timeout: timeout}
	}
	return out
}

// parcel is a message on its way; taken is closed when the receiver has copied it.
type parcel struct {
	call
	message
	taken chan struct{}
}

// hub is the state that the ranks of a loopback communicator share.
type hub struct {
	mu    sync.Mutex
	pipes map[[2]int]chan parcel // by sender and receiver
	cause error

	once sync.Once
	dead chan struct{} // closed when cause is set
}

func (h *hub) pipe(from, to int) chan parcel {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := h.pipes[[2]int{from, to}]
	if !ok {
		p = make(chan parcel, 1)
		h.pipes[[2]int{from, to}] = p
	}
	return p
}

func (h *hub) end(cause error) {
	h.once.Do(func() {
		h.mu.Lock()
		h.cause = cause
		h.mu.Unlock()
		close(h.dead)
	})
}

var errEnded = errors.New("the communicator has ended")

// thread is one rank's end.
type thread struct {
	hub  *hub
	rank int
}

func (t *thread) exchange(c call, to int, send message, from int, recv message) error {
	p, err := t.put(c, to, send)
	if err == nil {
		err = t.take(c, from, recv)
	}
	if err != nil {
		return err
	}
	return t.taken(c, to, p)
}

func (t *thread) give(c call, to int, m message) error {
	p, err := t.put(c, to, m)
	if err != nil {
		return err
	}
	return t.taken(c, to, p)
}

// put leaves a message for a rank.
func (t *thread) put(c call, to int, m message) (parcel, error) {
	late := time.NewTimer(time.Until(c.deadline))
	defer late.Stop()
	p := parcel{c, m, make(chan struct{})}
	select {
	case t.hub.pipe(t.rank, to) <- p:
		return p, nil
	case <-late.C:
		return p, fmt.Errorf("rank %d has not taken the message before", to)
	case <-t.hub.dead:
		return p, errEnded
	}
}

func (t *thread) take(c call, from int, m message) error {
	late := time.NewTimer(time.Until(c.deadline))
	defer late.Stop()
	select {
	case got := <-t.hub.pipe(from, t.rank):
		if got.op != c.op || got.seq != c.seq || len(got.message) != len(m) || got.bytes() != m.bytes() {
			return disorder(from, c, m.bytes(), got.op, got.seq, got.bytes())
		}
		for i := range m {
			copy(m[i], got.message[i])
		}
		close(got.taken)
		return nil
	case <-late.C:
		return fmt.Errorf("rank %d has not arrived", from)
	case <-t.hub.dead:
		return errEnded
	}
}

// taken waits until a rank has copied a message, which is the sender's memory.
func (t *thread) taken(c call, to int, p parcel) error {
	late := time.NewTimer(time.Until(c.deadline))
	defer late.Stop()
	select {
	case <-p.taken:
		return nil
	case <-late.C:
		return fmt.Errorf("rank %d has not arrived", to)
	case <-t.hub.dead:
		return errEnded
	}
}

func (t *thread) fail(_ call, err error) error {
	t.hub.end(fmt.Errorf("rank %d: %w", t.rank, err))
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	return t.hub.cause
}

// disorder is the error of ranks that are in different collectives.
func disorder(from int, c call, bytes int, o op, seq uint64, have int) error {
	return fmt.Errorf("rank %d sends %d bytes of %s number %d, this rank wants %d bytes of %s number %d: every rank must run the same recipe with the same version of gorun",
		from, have, opNames[o], seq, bytes, opNames[c.op], c.seq)
}
