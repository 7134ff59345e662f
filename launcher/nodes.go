package launcher

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"gorun/launcher/gossip"
	"gorun/launcher/rdzv"
)

// join gives this node its name, address and key, and where there are others, the way to them.
func (a *Agent) join() error {
	c := a.cfg
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("this node's name: %w", err)
	}
	if c.MaxNodes == 1 {
		a.self = rdzv.Member{ID: host, Addr: "127.0.0.1", Slots: c.Gpus}
		a.key = make([]byte, gossip.KeyBytes)
		if _, err := rand.Read(a.key); err != nil {
			return fmt.Errorf("a key for the run: %w", err)
		}
		return a.forget()
	}
	if a.key, err = gossip.DeriveKey(c.Key, c.RunID, "ranks"); err != nil {
		return err
	}
	var files gossip.Files
	if c.Files != nil {
		files = func(addr netip.Addr) (int, error) { return c.Files(addr.String(), a.key) }
	}
	a.net, err = gossip.Open(gossip.Config{
		Host: host, Run: c.RunID, Key: c.Key, Endpoints: c.Endpoints, LocalAddr: c.LocalAddr, Files: files, Log: c.Log,
		Self: gossip.Info{Version: c.Version, Nodes: c.nodes(), Slots: c.Gpus, NodeRank: c.NodeRank},
	}, others{a})
	if err != nil {
		return err
	}
	a.self = a.net.Self()
	return nil
}

// others takes what comes of other nodes to the agent's goroutine.
type others struct{ agent *Agent }

// Joined tells of a node that is alive.
func (o others) Joined(m rdzv.Member) { o.agent.post(func() { o.agent.core.Joined(m) }) }

// Lost tells of a node that has left or died.
func (o others) Lost(id string) { o.agent.post(func() { o.agent.core.Lost(id) }) }

// Received brings a message.
func (o others) Received(m rdzv.Message) { o.agent.post(func() { o.agent.core.Receive(m) }) }

// Refused ends the agent: waiting would not help.
func (o others) Refused(err error) {
	o.agent.post(func() {
		o.agent.refused = fmt.Errorf("this node can take no part in run %q: %w", o.agent.cfg.RunID, err)
	})
}

// waitNote is how often an agent without ranks tells what it waits for.
const waitNote = 10 * time.Second

// tellWaiting tells the user, now and then, why no ranks run.
func (a *Agent) tellWaiting() {
	here := a.core.Waiting()
	if a.net == nil || here == nil {
		a.waiting = time.Time{}
		return
	}
	if a.waiting.IsZero() {
		a.waiting = time.Now()
	}
	if time.Since(a.waiting) >= waitNote {
		a.waiting = time.Now()
		a.cfg.Log.Info().Msgf("waiting for a generation with --nnodes %s; nodes that are here: %s", a.cfg.nodes(), strings.Join(here, ", "))
	}
}

// freePort returns a port that nobody listens on at this moment.
func freePort(addr string) int {
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return 0 // rank 0 fails to listen there and says why
	}
	defer l.Close() //nolint:errcheck // it never had a connection
	return l.Addr().(*net.TCPAddr).Port
}

// ParseNodes reads --nnodes: N or MIN:MAX.
func ParseNodes(s string) (least, most int, err error) {
	low, high, ranged := strings.Cut(s, ":")
	least, err = strconv.Atoi(low)
	most = least
	if err == nil && ranged {
		most, err = strconv.Atoi(high)
	}
	if err != nil || least < 1 || most < least {
		return 0, 0, fmt.Errorf("--nnodes %q: want N or MIN:MAX, with 1 <= MIN <= MAX", s)
	}
	return least, most, nil
}

// ParseEndpoints reads --rdzv-endpoint: HOST[:PORT], several with commas between.
func ParseEndpoints(s string, port int) ([]string, error) {
	var out []string
	for _, word := range strings.Split(s, ",") {
		endpoint, err := parseEndpoint(strings.TrimSpace(word), port)
		if err != nil {
			return nil, err
		}
		out = append(out, endpoint)
	}
	return out, nil
}

// parseEndpoint adds the port where there is none. An IPv6 address with a port is in brackets.
func parseEndpoint(s string, port int) (string, error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		host, text = strings.Trim(s, "[]"), strconv.Itoa(port)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" || strings.ContainsAny(host, "/ []") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", fmt.Errorf("%q: want HOST or HOST:PORT, with a port from 1 to 65535", s)
	}
	return net.JoinHostPort(host, text), nil
}
