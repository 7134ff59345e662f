package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"gorun/launcher"
	"gorun/rank"
)

// placeOnThisMachine is this process's place, and whether it is one of several ranks that asRanks started.
func placeOnThisMachine() (p rank.Place, several bool, err error) {
	if os.Getenv("WORLD_SIZE") == "" {
		return p, false, nil
	}
	p, err = rank.PlaceFrom(os.Getenv)
	return p, p.World > 1, err
}

// asRanks runs this very command as n ranks on this machine and waits for all. The first one's output is this process's.
// It is for measuring; a training run has the launcher, which watches its ranks.
func (a *app) asRanks(ctx context.Context, n int) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program's path: %w", err)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := &saidOnce{w: a.stderr, lines: map[string]bool{}}
	var first error // the others' are because of it
	var all sync.WaitGroup
	for r := range n {
		cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
		cmd.Env = append(os.Environ(), fmt.Sprint("RANK=", r), fmt.Sprint("LOCAL_RANK=", r), fmt.Sprint("WORLD_SIZE=", n),
			"MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port, "GORUN_JOB_KEY="+hex.EncodeToString(key))
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 10 * time.Second
		errs := &launcher.Lines{Take: said.say}
		cmd.Stdout, cmd.Stderr = io.Discard, errs
		if r == 0 {
			cmd.Stdout = a.stdout
		}
		all.Go(func() {
			err := cmd.Run()
			_ = errs.Flush() // nobody is left to tell
			if err != nil && said.enough() {
				first = fmt.Errorf("rank %d: %w", r, err)
				cancel()
			}
		})
	}
	all.Wait()
	return first
}

// saidOnce shows what several ranks say once, and nothing from when one has failed on: the others say that they lost it.
type saidOnce struct {
	mu    sync.Mutex
	w     io.Writer
	lines map[string]bool // protected by mu
	over  bool            // protected by mu
}

func (s *saidOnce) say(line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.lines[string(line)] {
		return nil
	}
	s.lines[string(line)] = true
	_, err := s.w.Write(line)
	return err
}

// enough ends what is shown; true if it has not been ended before.
func (s *saidOnce) enough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.over
	s.over = true
	return !before
}

// freePort is a port of the loopback interface that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
