package collective

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// errLate says that a deadline has passed.
var errLate = errors.New("it has taken too long")

// isLate tells whether an error is that a deadline has passed, ours or a connection's.
func isLate(err error) bool {
	return errors.Is(err, errLate) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// greetingPatience bounds the greeting, so that a stranger who connects and stays silent costs little.
const greetingPatience = 10 * time.Second

// dial opens a connection to another rank and greets it, while ctx and the job last.
func (j *Job) dial(ctx context.Context, addr string, kind byte, name string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, greetingPatience)
	defer cancel()
	release := context.AfterFunc(j.ctx, cancel)
	defer release()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	hurry := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) }) // greet fails
	err = greet(conn, j.cfg.Key, greeting{kind: kind, generation: uint32(j.cfg.Generation), world: uint32(j.cfg.World), from: uint32(j.cfg.Rank), name: name})
	if !hurry() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close() // it is given up
		return nil, err
	}
	return conn, nil
}

// join opens the connection to rank 0.
func (j *Job) join(deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(j.ctx, deadline)
	defer cancel()
	return j.dial(ctx, j.cfg.Addr, joining, "")
}

// accept takes connections from other ranks until the listener is closed.
func (j *Job) accept() {
	for {
		conn, err := j.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			j.fail(fmt.Errorf("listen for other ranks: %w", err))
			return
		}
		j.work.Go(func() {
			if !j.receive(conn) {
				_ = conn.Close() // a stranger, a refused rank, or an answered question
			}
		})
	}
}

// receive greets a connection and files it; false if it is to be closed.
func (j *Job) receive(conn net.Conn) (keep bool) {
	if conn.SetDeadline(time.Now().Add(greetingPatience)) != nil {
		return false
	}
	hurry := context.AfterFunc(j.ctx, func() { _ = conn.SetDeadline(time.Now()) }) // the job does not end later for a stranger
	g, err := welcome(conn, j.cfg.Key, j.check)
	if !hurry() || err != nil || conn.SetDeadline(time.Time{}) != nil {
		return false
	}
	switch g.kind {
	case joining:
		return j.addPeer(int(g.from), conn)
	case sending:
		if j.own(conn) != nil {
			return false
		}
		select {
		case j.mailbox(int(g.from), g.name) <- conn:
			return true
		default:
			return false // it has one already
		}
	}
	if conn.SetWriteDeadline(time.Now().Add(sendPatience)) == nil {
		_ = json.NewEncoder(conn).Encode(j.flight.state(g.name)) // who asks notices
	}
	return false
}

// check refuses ranks of other runs and ranks that are here already.
func (j *Job) check(g greeting) error {
	switch {
	case g.kind != joining && g.kind != sending && g.kind != inquiry:
		return errNotGorun
	case int(g.generation) != j.cfg.Generation:
		return fmt.Errorf("rank %d is of generation %d, this is generation %d", g.from, g.generation, j.cfg.Generation)
	case int(g.world) != j.cfg.World:
		return fmt.Errorf("rank %d wants a world size of %d, this one is %d", g.from, g.world, j.cfg.World)
	case int(g.from) >= j.cfg.World || int(g.from) == j.cfg.Rank:
		return fmt.Errorf("rank %d cannot connect to rank %d of %d: two processes have the same RANK", g.from, j.cfg.Rank, j.cfg.World)
	case g.kind == joining && j.cfg.Rank != 0:
		return fmt.Errorf("rank %d wants to join at rank %d: MASTER_ADDR and MASTER_PORT must be rank 0's", g.from, j.cfg.Rank)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if g.kind == joining && j.peers[g.from] != nil {
		return fmt.Errorf("rank %d is here already: two processes have the same RANK", g.from)
	}
	return nil
}

// own makes the job close a connection when it fails.
func (j *Job) own(conn net.Conn) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cause != nil {
		return errors.Join(j.cause, conn.Close())
	}
	j.conns[conn] = true
	return nil
}

// mailbox is where the connection of a sender and a communicator is put.
func (j *Job) mailbox(from int, comm string) chan net.Conn {
	key := fmt.Sprint(from, " ", comm)
	j.mu.Lock()
	defer j.mu.Unlock()
	box, ok := j.inbox[key]
	if !ok {
		box = make(chan net.Conn, 1)
		j.inbox[key] = box
	}
	return box
}

// incoming waits for the connection of a sender.
func (j *Job) incoming(from int, comm string, deadline time.Time) (net.Conn, error) {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	select {
	case conn := <-j.mailbox(from, comm):
		return conn, nil
	case <-j.ctx.Done():
		return nil, j.Err()
	case <-late.C:
		return nil, errLate
	}
}
