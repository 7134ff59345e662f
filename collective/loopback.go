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
	late := time.NewTimer(time.Until(c.deadline))
	defer late.Stop()
	p := parcel{c, send, make(chan struct{})}
	select {
	case t.hub.pipe(t.rank, to) <- p:
	case <-late.C:
		return fmt.Errorf("rank %d has not taken the message before", to)
	case <-t.hub.dead:
		return errEnded
	}
	select {
	case got := <-t.hub.pipe(from, t.rank):
		if got.op != c.op || got.seq != c.seq || len(got.message) != len(recv) || got.bytes() != recv.bytes() {
			return disorder(from, c, recv.bytes(), got.op, got.seq, got.bytes())
		}
		for i := range recv {
			copy(recv[i], got.message[i])
		}
		close(got.taken)
	case <-late.C:
		return fmt.Errorf("rank %d has not arrived", from)
	case <-t.hub.dead:
		return errEnded
	}
	select { // the message is the sender's memory: it may change only when it has been copied
	case <-p.taken:
	case <-late.C:
		return fmt.Errorf("rank %d has not arrived", to)
	case <-t.hub.dead:
		return errEnded
	}
	return nil
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
