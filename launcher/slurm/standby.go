package slurm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Agent is held by the task that is its node's agent, so that the node's other tasks end when it does.
type Agent struct{ listener *net.UnixListener }

// socket is an abstract one: it has no file to leave behind, and is gone with its process. A node has its number in the
// name, for it may be one of several on a machine; its own name may be longer than a socket's.
func (s *Step) socket() *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("@gorun/%d/%s/%d", os.Geteuid(), s.ID(), s.NodeRank)}
}

// Lead lets the node's other tasks stand by until Close, or the end of this process.
func (s *Step) Lead() (*Agent, error) {
	l, err := net.ListenUnix("unix", s.socket())
	if err != nil {
		return nil, fmt.Errorf("slurm: this node's tasks can't be told of the agent: %w", err)
	}
	a := &Agent{l}
	go a.serve()
	return a, nil
}

// serve keeps every connection open and says nothing on it: its end is the message.
func (a *Agent) serve() {
	var waiting []net.Conn
	for {
		c, err := a.listener.Accept()
		if err != nil {
			break
		}
		waiting = append(waiting, c)
	}
	for _, c := range waiting {
		_ = c.Close() // its end is all that counts
	}
}

// Close lets the other tasks end.
func (a *Agent) Close() error { return a.listener.Close() }

// standbyRetry is how often a task looks for an agent that has not begun yet.
const standbyRetry = 100 * time.Millisecond

// StandBy returns when the node's agent has ended. It is an error if none shows up within wait: then another task of the
// node is none of ours, or has ended with an error of its own.
func (s *Step) StandBy(ctx context.Context, wait time.Duration) error {
	for end := time.Now().Add(wait); ; {
		c, err := net.DialUnix("unix", nil, s.socket())
		if err == nil {
			return s.await(ctx, c)
		}
		if !errors.Is(err, unix.ECONNREFUSED) || time.Now().After(end) {
			return fmt.Errorf("slurm: task %d of node %s found no agent in the node's task 0 within %s: %w", s.LocalTask, s.Node(), wait, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(standbyRetry):
		}
	}
}

func (s *Step) await(ctx context.Context, c *net.UnixConn) error {
	defer c.Close() //nolint:errcheck // nothing was written
	if err := ours(c); err != nil {
		return fmt.Errorf("slurm: the agent of node %s: %w", s.Node(), err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_, err := c.Read(make([]byte, 1))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("slurm: the agent of node %s said something that it should not have: %w", s.Node(), err)
}

// ours tells whether the other end is a process of this user: anybody may have taken the socket's name.
func ours(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("a process of user %d has its name", cred.Uid)
	}
	return nil
}
