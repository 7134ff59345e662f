package collective

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Comm makes the communicator of the given ranks, this one among them, in the order given; name is the same on all.
// One rank alone is a Solo.
func (j *Job) Comm(name string, ranks []int) Comm {
	if len(ranks) == 1 {
		return Solo{}
	}
	w := &tcp{job: j, name: name, ranks: ranks, out: make([]net.Conn, len(ranks)), in: make([]net.Conn, len(ranks))}
	h := &Host{name: name, size: len(ranks), wire: w, flight: j.flight, timeout: j.cfg.Timeout}
	for i, r := range ranks {
		if r == j.cfg.Rank {
			h.rank = i
		}
	}
	return h
}

// Aside is Comm for what goes on beside the run's collectives, in another goroutine. A call may take as long as patience,
// and the job's observer is not told of it.
func (j *Job) Aside(name string, ranks []int, patience time.Duration) Comm {
	c := j.Comm(name, ranks)
	if h, ok := c.(*Host); ok {
		h.timeout, h.aside = patience, true
	}
	return c
}

// tcp is the wire between processes: a connection each way between each two ranks that have something to send.
type tcp struct {
	job     *Job
	name    string
	ranks   []int // of the world, by rank of the communicator
	out, in []net.Conn
}

// headLen is the length of a message's head: op, number of the collective, length.
const headLen = 1 + 8 + 8

func (t *tcp) exchange(c call, to int, send message, from int, recv message) error {
	ctx, cancel := context.WithDeadline(t.job.ctx, c.deadline)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- t.send(ctx, c, to, send) }()
	err := t.take(c, from, recv)
	if err != nil {
		cancel()
		<-sent // it may still read the memory
		return err
	}
	return <-sent
}

func (t *tcp) give(c call, to int, m message) error {
	ctx, cancel := context.WithDeadline(t.job.ctx, c.deadline)
	defer cancel()
	return t.send(ctx, c, to, m)
}

// send writes a message; cancelling ctx ends it.
func (t *tcp) send(ctx context.Context, c call, to int, m message) error {
	conn, err := t.outgoing(ctx, to)
	if err == nil {
		err = conn.SetWriteDeadline(c.deadline)
	}
	if err != nil {
		return &lost{t.ranks[to], err}
	}
	release := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now()) }) // the collective has failed, its job fails next
	defer release()
	head := binary.BigEndian.AppendUint64([]byte{byte(c.op)}, c.seq)
	head = binary.BigEndian.AppendUint64(head, uint64(m.bytes()))
	pieces := append(net.Buffers{head}, m...)
	if _, err := pieces.WriteTo(conn); err != nil {
		return &lost{t.ranks[to], err}
	}
	return nil
}

// outgoing is the connection to a rank, made when first needed.
func (t *tcp) outgoing(ctx context.Context, to int) (net.Conn, error) {
	if t.out[to] == nil {
		conn, err := t.job.dial(ctx, t.job.addrs[t.ranks[to]], sending, t.name)
		if err != nil {
			return nil, err
		}
		if err := t.job.own(conn); err != nil {
			return nil, err
		}
		t.out[to] = conn
	}
	return t.out[to], nil
}

func (t *tcp) take(c call, from int, m message) error {
	if t.in[from] == nil {
		conn, err := t.job.incoming(t.ranks[from], t.name, c.deadline)
		if err != nil {
			return &lost{t.ranks[from], err}
		}
		t.in[from] = conn
	}
	conn := t.in[from]
	if err := conn.SetReadDeadline(c.deadline); err != nil {
		return &lost{t.ranks[from], err}
	}
	var head [headLen]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return &lost{t.ranks[from], err}
	}
	o, seq, n := op(head[0]), binary.BigEndian.Uint64(head[1:]), binary.BigEndian.Uint64(head[9:])
	if o != c.op || seq != c.seq || n != uint64(m.bytes()) {
		return disorder(t.ranks[from], c, m.bytes(), o, seq, int(min(n, 1<<62)))
	}
	for _, piece := range m {
		if _, err := io.ReadFull(conn, piece); err != nil {
			return &lost{t.ranks[from], err}
		}
	}
	return nil
}

// lost is a connection to a rank that broke or stayed silent.
type lost struct {
	rank int
	err  error
}

func (l *lost) Error() string { return fmt.Sprintf("lost rank %d: %v", l.rank, l.err) }
func (l *lost) Unwrap() error { return l.err }

// causePatience is how long a rank whose connection broke waits to be told why.
const causePatience = 2 * time.Second

// fail finds out why a collective failed: a broken connection usually means that another rank has failed, which rank 0
// will tell; silence, that some rank has not arrived, which the ranks can be asked.
func (t *tcp) fail(c call, err error) error {
	var l *lost
	switch {
	case t.job.Err() != nil:
	case isLate(err):
		err = fmt.Errorf("rank %d: %s number %d of %s has taken longer than it may: %s", t.job.cfg.Rank, opNames[c.op], c.seq, t.name, t.job.missing(c, t.name, t.ranks))
	case errors.As(err, &l):
		select {
		case <-t.job.ctx.Done():
		case <-time.After(causePatience):
			err = fmt.Errorf("rank %d: %w", t.job.cfg.Rank, err)
		}
	default:
		err = fmt.Errorf("rank %d: %w", t.job.cfg.Rank, err)
	}
	return t.job.fail(err)
}
