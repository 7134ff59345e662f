package launcher

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gorun/launcher/gossip"
	"gorun/launcher/rdzv"
	"gorun/tools/syncbuf"
)

// testNode is one agent of several that run in this process.
type testNode struct {
	conf      *Config
	out, errs *syncbuf.Buffer
	signals   chan os.Signal
	ended     chan error
	leave     context.CancelFunc // ends the agent without a word to its ranks
}

// startNodes runs n agents of one run, each with gpus[i] ranks, on loopback addresses of their own.
func startNodes(t *testing.T, role string, gpus ...int) []*testNode {
	t.Helper()
	setRole(t, role)
	port := freePort("127.0.4.1")
	dir := t.TempDir() // shared by the nodes
	var nodes []*testNode
	for i, g := range gpus {
		c := baseConfig(dir, g)
		c.MinNodes, c.MaxNodes, c.NodeRank = len(gpus), len(gpus), i
		c.Endpoints = []string{net.JoinHostPort("127.0.4.1", fmt.Sprint(port))}
		c.LocalAddr = fmt.Sprintf("127.0.4.%d", i+1)
		c.Key, c.Version = bytes.Repeat([]byte{7}, gossip.KeyBytes), "test"
		c.JoinTimeout, c.LastCall = 30*time.Second, 100*time.Millisecond
		n := &testNode{conf: c, out: &syncbuf.Buffer{}, errs: &syncbuf.Buffer{}, signals: make(chan os.Signal, 2), ended: make(chan error, 1)}
		c.Out, c.Err = n.out, n.errs
		nodes = append(nodes, n)
	}
	return nodes
}

func (n *testNode) run(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	n.leave = leave
	go func() { n.ended <- Run(ctx, n.conf, n.signals) }()
}

// end returns how the agent ended.
func (n *testNode) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-n.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("an agent has not ended after a minute; its console shows %q and %q", n.out, n.errs)
		return nil
	}
}

// TestNodesEndWell: two nodes of different sizes; the ranks have the environment of one run, and the nodes end as one.
func TestNodesEndWell(t *testing.T) {
	nodes := startNodes(t, "ok", 2, 1)
	began := time.Now()
	for _, n := range slices.Backward(nodes) {
		n.run(t)
	}
	for _, n := range nodes {
		if err := n.end(t); err != nil {
			t.Error(err)
		}
	}
	t.Logf("took %s", time.Since(began))
	for rank, n := range []*testNode{nodes[0], nodes[0], nodes[1]} {
		if line := fmt.Sprintf("[%d]: rank %d of 3\n", rank, rank); !strings.Contains(n.out.String(), line) {
			t.Errorf("the console shows %q, want %q in it", n.out, line)
		}
	}
	rec, err := readRecord(nodes[0].conf.RunDir())
	if err != nil || len(rec.Nodes) != 2 || rec.Nodes[1].Addr != "127.0.4.2" || len(rec.Verdicts) != 1 || !rec.Verdicts[0].OK {
		t.Errorf("the record is %+v, %v", rec, err)
	}
}

// TestNodesVerdict: a rank's death on one node is told on both, in the same words and soon, and both fail.
func TestNodesVerdict(t *testing.T) {
	nodes := startNodes(t, "crash=2", 2, 2)
	for _, n := range nodes {
		n.run(t)
	}
	var lines []string
	for _, n := range nodes {
		line := verdictOf(t, n.end(t)).Line()
		if !strings.Contains(n.errs.String(), line) {
			t.Errorf("the verdict %q is not on the console %q", line, n.errs)
		}
		lines = append(lines, line)
	}
	if lines[0] != lines[1] || !strings.Contains(lines[0], "rank 2 (pid ") || !strings.Contains(lines[0], "was killed by SIGKILL") {
		t.Errorf("the verdicts are %q", lines)
	}
}

// TestNodesStop: a signal on one node asks the ranks of all to checkpoint.
func TestNodesStop(t *testing.T) {
	nodes := startNodes(t, "wait", 1, 1)
	for _, n := range nodes {
		n.run(t)
	}
	within(t, "the ranks start", func() bool {
		return strings.Contains(nodes[0].out.String(), "of 2") && strings.Contains(nodes[1].out.String(), "of 2")
	})
	nodes[1].signals <- syscall.SIGUSR1
	for _, n := range nodes {
		if err := n.end(t); err != nil || !strings.Contains(n.errs.String(), "stopped as asked") {
			t.Errorf("ended with %v, the console shows %q", err, n.errs)
		}
	}
}

// TestNodesRestart: with 1:2 nodes, one that leaves is done without, and the ranks of the other start again.
func TestNodesRestart(t *testing.T) {
	nodes := startNodes(t, "once:wait", 1, 1)
	for _, n := range nodes {
		n.conf.MinNodes, n.conf.MaxRestarts = 1, 1
		n.conf.LastCall = 3 * time.Second // for the two to meet
		n.run(t)
	}
	within(t, "the ranks start", func() bool {
		return strings.Contains(nodes[0].out.String(), "of 2") && strings.Contains(nodes[1].out.String(), "of 2")
	})
	nodes[1].leave()
	if err := nodes[1].end(t); err == nil {
		t.Error("the node that left ended well")
	}
	if err := nodes[0].end(t); err != nil {
		t.Errorf("the other ended with %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(nodes[0].conf.RunDir(), "attempt_1", "0", "stdout.log")); err != nil || string(b) != "rank 0 of 1\n" {
		t.Errorf("the log of the second generation is %q, %v; the console shows %q", b, err, nodes[0].errs)
	}
}

// TestNodesRefused: an agent of another version ends at once and says why.
func TestNodesRefused(t *testing.T) {
	nodes := startNodes(t, "ok", 1, 1)
	nodes[1].conf.Version = "other"
	nodes[0].run(t)
	nodes[1].run(t)
	if err := nodes[1].end(t); err == nil || !strings.Contains(err.Error(), "it runs gorun test, this node other") {
		t.Errorf("ended with %v", err)
	}
	nodes[0].signals <- os.Interrupt
	if err := nodes[0].end(t); err != nil {
		t.Errorf("the other ended with %v", err)
	}
}

func TestParseNodes(t *testing.T) {
	for s, want := range map[string][2]int{"1": {1, 1}, "4": {4, 4}, "2:8": {2, 8}} {
		if least, most, err := ParseNodes(s); err != nil || [2]int{least, most} != want {
			t.Errorf("%q is %d:%d, %v", s, least, most, err)
		}
	}
	for _, s := range []string{"", "0", "2:1", "a", "1:", ":2", "1:2:3", "-1"} {
		if _, _, err := ParseNodes(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestParseEndpoints(t *testing.T) {
	got, err := ParseEndpoints("a, b:80,10.0.0.1,[::1]:9,fe80::1", 29400)
	want := []string{"a:29400", "b:80", "10.0.0.1:29400", "[::1]:9", "[fe80::1]:29400"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	for _, s := range []string{"", "a,", ":80", "a:0", "a:70000", "a:b", "http://a"} {
		if got, err := ParseEndpoints(s, 1); err == nil {
			t.Errorf("%q was taken as %q", s, got)
		}
	}
}

// TestTellWaiting: an agent that has waited long for others says who is here.
func TestTellWaiting(t *testing.T) {
	var log syncbuf.Buffer
	conf := rdzv.DefaultConfig(rdzv.Member{ID: "b", Slots: 1, NodeRank: -1})
	conf.MinNodes, conf.MaxNodes = 3, 3
	a := &Agent{cfg: &Config{MinNodes: 3, MaxNodes: 3, Log: zerolog.New(&log)}, core: rdzv.New(conf, 0), net: &gossip.Net{}}
	a.core.Joined(rdzv.Member{ID: "a", Slots: 1, NodeRank: -1})
	a.tellWaiting()
	if log.String() != "" {
		t.Errorf("at once it says %q", &log)
	}
	a.waiting = time.Now().Add(-waitNote)
	a.tellWaiting()
	if !strings.Contains(log.String(), "--nnodes 3:3; nodes that are here: a, b") {
		t.Errorf("it says %q", &log)
	}
}
