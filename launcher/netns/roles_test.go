package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gorun/launcher"
)

// The test binary is also the agent and the rank of the labs: an agent if agentEnv holds its agentSpec, a rank if rankEnv
// is set.
const (
	agentEnv = "GORUN_LAB_AGENT"
	rankEnv  = "GORUN_LAB_RANK"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(agentEnv); spec != "" {
		os.Exit(agentMain(spec))
	}
	if os.Getenv(rankEnv) != "" {
		os.Exit(rankMain())
	}
	os.Exit(m.Run())
}

// agentSpec is what differs among the agents of the scenarios.
type agentSpec struct {
	Gpus, MinNodes, MaxNodes, NodeRank, Restarts int
	Endpoint, Key, Run, Version, LogDir          string
}

func agentMain(spec string) int {
	var s agentSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	for name, value := range map[string]string{agentEnv: "", rankEnv: "1"} {
		if err := os.Setenv(name, value); err != nil {
			return 2
		}
	}
	fmt.Printf("agent pid %d\n", os.Getpid())
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	err := launcher.Run(context.Background(), &launcher.Config{
		Command: []string{os.Args[0]}, Gpus: s.Gpus, RunID: s.Run,
		MinNodes: s.MinNodes, MaxNodes: s.MaxNodes, NodeRank: s.NodeRank, MaxRestarts: s.Restarts,
		Endpoints: []string{s.Endpoint}, Key: []byte(s.Key), Version: s.Version, JoinTimeout: time.Minute, LastCall: time.Second,
		Tick: 100 * time.Millisecond, HangTimeout: 2 * time.Second, ShutdownTimeout: 5 * time.Second, LogDir: s.LogDir,
		Out: os.Stdout, Err: os.Stderr, Log: zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}).Level(zerolog.InfoLevel),
	}, signals)
	var ended *launcher.Ended
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &ended):
		fmt.Fprintln(os.Stderr, "gorun:", err)
	}
	return 1
}

// rankMain takes steps, each with one byte to rank 0 and one back, until it is told to end (SIGTERM), to fail (SIGUSR2), or a peer is gone. Each step
// prints enough to fill a pipe soon.
func rankMain() int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fail := make(chan os.Signal, 1)
	signal.Notify(fail, syscall.SIGUSR2)
	rank, world := os.Getenv("RANK"), os.Getenv("WORLD_SIZE")
	fmt.Printf("rank %s of %s pid %d generation %s\n", rank, world, os.Getpid(), os.Getenv("GORUN_GENERATION"))
	peers, err := meet(rank == "0", world)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	failed := make(chan error, 1)
	go func() { failed <- steps(rank == "0", peers) }()
	select {
	case <-term:
		return 0
	case <-fail:
		fmt.Fprint(os.Stderr, strings.Repeat("a long story of what went wrong\n", 200), "the disk is full\n")
		return 1
	case err := <-failed:
		select {
		case <-term: // that is why
			return 0
		case <-time.After(500 * time.Millisecond):
		}
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
}

// meet connects all ranks to rank 0, at the address that the launcher gave.
func meet(first bool, world string) ([]net.Conn, error) {
	at := net.JoinHostPort(os.Getenv("MASTER_ADDR"), os.Getenv("MASTER_PORT"))
	if !first {
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			conn, err := net.DialTimeout("tcp", at, 2*time.Second)
			if err == nil || time.Now().After(end) {
				return []net.Conn{conn}, err
			}
		}
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(world)
	if err != nil {
		return nil, err
	}
	var peers []net.Conn
	for len(peers) < n-1 {
		conn, err := l.Accept()
		if err != nil {
			return nil, err
		}
		peers = append(peers, conn)
	}
	return peers, nil
}

func steps(first bool, peers []net.Conn) error {
	events := os.NewFile(3, "events")
	chatter := strings.Repeat("x", 512)
	b := make([]byte, 1)
	for step := 1; ; step++ {
		fmt.Println(chatter)
		fmt.Fprintf(events, `{"event":"collective","op":"barrier","seq":%d,"state":"begin"}`+"\n", step)
		for _, p := range peers { // rank 0 hears all before it answers any
			if err := exchange(p, b, first); err != nil {
				return fmt.Errorf("barrier %d: a peer is gone: %w", step, err)
			}
		}
		for _, p := range peers {
			if err := exchange(p, b, !first); err != nil {
				return fmt.Errorf("barrier %d: a peer is gone: %w", step, err)
			}
		}
		fmt.Fprintf(events, `{"event":"collective","op":"barrier","seq":%d,"state":"end"}`+"\n"+`{"event":"step","step":%d}`+"\n", step, step)
		time.Sleep(20 * time.Millisecond)
	}
}

func exchange(p net.Conn, b []byte, read bool) (err error) {
	if read {
		_, err = io.ReadFull(p, b)
	} else {
		_, err = p.Write(b)
	}
	return err
}
