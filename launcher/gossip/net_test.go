package gossip

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"gorun/launcher/rdzv"
	"gorun/tools/syncbuf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is an agent's end of the net in a test: it writes down what it hears.
type node struct {
	*Net
	log *syncbuf.Buffer

	mu    sync.Mutex
	heard []string // protected by mu
}

func (n *node) note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = append(n.heard, fmt.Sprintf(format, args...))
}

func (n *node) Joined(m rdzv.Member) { n.note("joined %s %s %d", m.Addr, host(m.ID), m.Slots) }
func (n *node) Lost(id string)       { n.note("lost %s", host(id)) }
func (n *node) Refused(err error)    { n.note("refused %v", err) }
func (n *node) Received(m rdzv.Message) {
	size := 0
	if m.Verdict != nil {
		size = len(m.Verdict.Failure.Tail)
	}
	n.note("received %s from %s, %d", m.Kind, host(m.From), size)
}

// host is a node's name without its random part.
func host(id string) string { return id[:strings.LastIndexByte(id, '-')] }

func (n *node) has(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.heard, func(line string) bool { return strings.Contains(line, text) })
}

// at returns a loopback address on which both ports of an agent are free.
func at(t *testing.T, addr string) netip.AddrPort {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			t.Fatal(err)
		}
		ap := l.Addr().(*net.TCPAddr).AddrPort()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if bindable(ap.Addr(), int(ap.Port())) == nil {
			return ap
		}
	}
	t.Fatal("no port is free")
	return netip.AddrPort{}
}

// config is of the node called name at addr, in the run of those that meet at meet.
func config(name, addr string, meet netip.AddrPort) (Config, *node) {
	n := &node{log: &syncbuf.Buffer{}}
	return Config{
		Host: name, Run: "test", Key: bytes.Repeat([]byte{1}, KeyBytes), Endpoints: []string{meet.String()}, LocalAddr: addr,
		Self: Info{Version: "v1", Nodes: "2:2", Slots: 1, NodeRank: -1}, Log: zerolog.New(n.log).Level(zerolog.InfoLevel),
	}, n
}

func open(t *testing.T, c Config, n *node) {
	t.Helper()
	var err error
	if n.Net, err = Open(c, n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
}

// busy is how long what takes a moment may take on a busy machine.
const busy = 30 * time.Second

func within(t *testing.T, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, d)
		}
	}
}

// TestMeet: the second node is here before the first; they find each other, talk, and hear a goodbye.
func TestMeet(t *testing.T) {
	t.Parallel()
	meet := at(t, "127.0.1.1")
	ca, a := config("a", "127.0.1.1", meet)
	cb, b := config("b", "127.0.1.2", meet)
	open(t, cb, b)
	open(t, ca, a)
	within(t, busy, "they meet", func() bool { return a.has("joined 127.0.1.2 b 1") && b.has("joined 127.0.1.1 a 1") })
	large := strings.Repeat("w", 20000) // takes a stream alone
	within(t, busy, "messages arrive", func() bool {
		a.Send(rdzv.Message{Kind: rdzv.News, From: a.Self().ID, To: b.Self().ID})
		b.Send(rdzv.Message{Kind: rdzv.Decide, From: b.Self().ID, To: a.Self().ID, Verdict: &rdzv.Verdict{Failure: &rdzv.Failure{Node: "a", Tail: large}}})
		return b.has("received news from a, 0") && a.has("received decide from b, 20000")
	})
	b.Close()
	// Less than what it takes to find a node dead, which memberlist does not tell from a goodbye.
	within(t, 2*time.Second, "the goodbye arrives", func() bool { return a.has("lost b") })
}

// TestStrangers: a node that can take no part is told of on both sides, as far as encryption permits; it hears that
// waiting is no use only where it is certain.
func TestStrangers(t *testing.T) {
	tests := []struct {
		name         string
		change       func(*Config)
		here, there  string // in the log of the node that is joined, and of the one that joins
		refused      string
		neverRefused bool
	}{
		{"key", func(c *Config) { c.Key = bytes.Repeat([]byte{2}, KeyBytes) },
			"what comes from %s can't be decrypted with this run's key", "what comes from %s can't be decrypted with this run's key", "", true},
		{"run", func(c *Config) { c.Run = "other" },
			`a node at %s is refused: it belongs to the run \"other\": compare --rdzv-id`, "what listens at %s closes the connection", "", true},
		{"version", func(c *Config) { c.Self.Version = "v2" },
			"is refused: it runs gorun v2, this node v1", "is refused: it runs gorun v1, this node v2", "it runs gorun v1, this node v2", false},
		{"nodes", func(c *Config) { c.Self.Nodes = "1:2" },
			"is refused: it was started with --nnodes 1:2, this node with 2:2", "this node with 1:2", "it was started with --nnodes 2:2", false},
		{"twin", func(c *Config) { c.Self.NodeRank = 0 },
			"--node-rank 0 is taken by node a-", "--node-rank 0 is taken by node b-", "", true},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			meet := at(t, fmt.Sprintf("127.0.2.%d", 2*i+1))
			ca, a := config("a", meet.Addr().String(), meet)
			cb, b := config("b", fmt.Sprintf("127.0.2.%d", 2*i+2), meet)
			ca.Self.NodeRank = 0
			tt.change(&cb)
			open(t, ca, a)
			open(t, cb, b)
			// The node that is joined sees the source address of a connection between loopback addresses.
			here, there := strings.ReplaceAll(tt.here, "%s", "127.0.0.1"), strings.ReplaceAll(tt.there, "%s", meet.String())
			within(t, busy, "both sides tell", func() bool {
				return strings.Contains(a.log.String(), here) && strings.Contains(b.log.String(), there)
			})
			if tt.refused != "" {
				within(t, busy, "it hears that it is refused", func() bool { return b.has("refused " + tt.refused) })
			}
			if a.has("joined") || b.has("joined") || a.has("refused") || tt.neverRefused && b.has("refused") {
				t.Errorf("they heard %q and %q", a.heard, b.heard)
			}
		})
	}
}

// TestPortTaken: another agent of the run on the same machine is no obstacle; another program is, where others look for
// this node.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	meet := at(t, "127.0.3.1")
	ca, a := config("a", "127.0.3.1", meet)
	cb, b := config("b", "127.0.3.1", meet)
	open(t, ca, a)
	open(t, cb, b)
	within(t, busy, "they meet", func() bool { return a.has("joined 127.0.3.1 b") && b.has("joined 127.0.3.1 a") })

	taken, err := net.Listen("tcp", "127.0.3.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close() //nolint:errcheck // nobody writes there
	cc, c := config("c", "127.0.3.2", taken.Addr().(*net.TCPAddr).AddrPort())
	if _, err := Open(cc, c); err == nil || !strings.Contains(err.Error(), "of this machine (127.0.3.2) is taken") {
		t.Errorf("with the port taken: %v", err)
	}
	cc.LocalAddr = "203.0.113.7"
	if _, err := Open(cc, c); err == nil || !strings.Contains(err.Error(), "--local-addr") {
		t.Errorf("at an address of another machine: %v", err)
	}
}
