package hub

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gorun/model/hub/hubtest"
)

var runKey = bytes.Repeat([]byte{7}, 32)

// node is one of a run's nodes: its cache, and how its ranks and its server see the Hub.
type node struct {
	config Config
	peers  *Peers
	fault  func(w http.ResponseWriter, r *http.Request, next http.Handler) // befalls its server; nil = none
}

// startNodes makes nodes that give each other what names name, until the test ends.
func startNodes(t *testing.T, s *hubtest.Server, nodes []*node, names ...string) {
	t.Helper()
	var listeners []net.Listener
	var addrs []string
	for range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners, addrs = append(listeners, l), append(addrs, l.Addr().String())
	}
	var wanted []Request
	for _, name := range names {
		wanted = append(wanted, request(t, name))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	for i, n := range nodes {
		n.config.Cache, n.peers = t.TempDir(), &Peers{Addrs: addrs, Self: i, Key: runKey}
		server, err := NewPeerServer(n.client(t, s), wanted)
		if err != nil {
			t.Fatal(err)
		}
		server.alive = 10 * time.Millisecond
		routes := server.routes()
		if n.fault != nil {
			routes = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.fault(w, r, server.routes()) })
		}
		ended.Go(func() {
			if err := server.serve(ctx, listeners[i], runKey, routes); err != nil {
				t.Error(err)
			}
		})
	}
}

// client is the node's server's, without other nodes to ask.
func (n *node) client(t *testing.T, s *hubtest.Server) *Client {
	t.Helper()
	return client(t, s, n.config.Token, func(c *Config) {
		c.Cache = n.config.Cache
		if n.config.Endpoint != "" {
			c.Endpoint = n.config.Endpoint
		}
	})
}

// rank is a client of one of the node's ranks.
func (n *node) rank(t *testing.T, s *hubtest.Server) *Client {
	t.Helper()
	c := n.client(t, s)
	c.cfg.Peers = n.peers
	return c
}

// TestPeers: of three nodes with two ranks each that start at once, one asks the Hub, once for each file, and all have
// them.
func TestPeers(t *testing.T) {
	s := start(t)
	nodes := []*node{{}, {}, {}}
	startNodes(t, s, nodes, model, dataset)
	var ranks sync.WaitGroup
	for _, n := range nodes {
		for range 2 {
			c := n.rank(t, s)
			ranks.Go(func() {
				got, err := c.Open(t.Context(), request(t, model))
				if err != nil {
					t.Error(err)
					return
				}
				contains(t, s, model, got, wholeModel...)
			})
		}
	}
	ranks.Wait()
	if n := count(s, "/resolve/"); n != len(wholeModel) {
		t.Errorf("the Hub was asked for %d files, want %d", n, len(wholeModel))
	}
	for _, n := range nodes {
		noPartial(t, n.config.Cache)
		got, err := client(t, s, "", func(c *Config) { c.Cache, c.Offline = n.config.Cache, true }).Open(t.Context(), request(t, model))
		if err != nil {
			t.Errorf("offline, later: %v", err)
			continue
		}
		contains(t, s, model, got, wholeModel...)
	}
}

// TestPeerHasAccess: one node of three has a token for a gated model, one has none and one has no way to the Hub; all
// have the model.
func TestPeerHasAccess(t *testing.T) {
	s := start(t)
	nodes := []*node{{}, {config: Config{Token: granted}}, {config: Config{Endpoint: "http://127.0.0.1:1"}}}
	startNodes(t, s, nodes, gated)
	for i, n := range nodes {
		got, err := n.rank(t, s).Open(t.Context(), request(t, gated))
		if err != nil {
			t.Errorf("node %d: %v", i, err)
			continue
		}
		contains(t, s, gated, got, "config.json", "model.safetensors")
	}
	if n := count(s, "/contents/"); n != 1 {
		t.Errorf("the contents were fetched %d times", n)
	}
	nobody := []*node{{}, {}}
	startNodes(t, s, nobody, gated)
	_, err := nobody[1].rank(t, s).Open(t.Context(), request(t, gated))
	says(t, err, ErrAccess, "gated")
}

// TestPeerFails: whatever goes wrong with a node, the files come from the Hub, right, and what had arrived is not fetched
// again.
func TestPeerFails(t *testing.T) {
	weights := "/blob/" + sha256Of(bytesOf(100_000, 1))
	blob := func(match string, do func(http.ResponseWriter, *http.Request, http.Handler)) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.HasPrefix(r.URL.Path, match) {
				do(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	reply := func(text string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return blob("/snapshot", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = io.WriteString(w, text) })
	}
	var given sync.WaitGroup // the first five parts, before any other is refused
	given.Add(5)
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){
		"dies in the middle of a file": blob(weights, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			var from int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil || from >= 35_000 {
				given.Wait()
				panic(http.ErrAbortHandler)
			}
			defer given.Done()
			next.ServeHTTP(w, r)
		}),
		"cuts every answer":   blob(weights, hubtest.Cut(1000)),
		"other bytes":         blob(weights, hubtest.Change(func(b []byte) []byte { return bytes.Repeat([]byte{'x'}, len(b)) })),
		"more bytes":          blob(weights, hubtest.Change(func(b []byte) []byte { return append(b, 'x') })),
		"fewer bytes":         blob(weights, hubtest.Change(func(b []byte) []byte { return b[1:] })),
		"has lost the file":   blob(weights, hubtest.Status(http.StatusNotFound)),
		"redirects":           blob("/blob/", hubtest.Status(http.StatusFound, "Location", "https://127.0.0.1:1/")),
		"is gone":             blob("/", func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }),
		"cannot fetch it":     reply(`{"Error": "no\nspace"}`),
		"is another program":  reply("<html>"),
		"an empty answer":     reply("{}"),
		"a way out":           reply(`{"Commit":"` + strings.Repeat("a", 40) + `","Tree":{"format_version":1,"files":{"../../x":{"size":1,"blob_id":"` + strings.Repeat("a", 40) + `"}}}}`),
		"a commit is a path":  reply(`{"Commit":"../../x","Tree":{"format_version":1,"files":{}}}`),
		"an answer too large": blob("/snapshot", flood),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			nodes := []*node{{fault: fault}, {}}
			startNodes(t, s, nodes, model)
			got, err := nodes[1].rank(t, s).Open(t.Context(), request(t, model))
			if err != nil {
				t.Fatal(err)
			}
			contains(t, s, model, got, wholeModel...)
			noPartial(t, nodes[1].config.Cache)
			// Parts have 7,000 bytes: the first node fetches 15, and so would this one if it began anew.
			if n := count(s, "/contents/"+sha256Of(bytesOf(100_000, 1))); strings.HasPrefix(name, "dies") && (n <= 15 || n >= 30) {
				t.Errorf("%d parts of the file came from the Hub", n)
			}
		})
	}
}

// TestPeerRefuses: who does not hold the key is told nothing, and who does gets nothing but the run's files.
func TestPeerRefuses(t *testing.T) {
	s := start(t)
	nodes := []*node{{}, {}}
	startNodes(t, s, nodes, model)
	if _, err := nodes[0].rank(t, s).Open(t.Context(), request(t, model)); err != nil {
		t.Fatal(err)
	}
	addr := nodes[0].peers.Addrs[0]
	for name, key := range map[string][]byte{"another key": []byte("another"), "no key": nil} {
		c := nodes[1].rank(t, s)
		other := *nodes[1].peers
		other.Key = key
		c.cfg.Peers = &other
		r := request(t, model)
		if err := r.settle(); err != nil {
			t.Fatal(err)
		}
		_, err := c.fetchPeer(t.Context(), addr, r)
		if !errors.Is(err, errStranger) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rude, err := peerTLS([]byte("another"))
	if err != nil {
		t.Fatal(err)
	}
	rude.VerifyConnection = nil // it does not care whom it talks to
	for name, config := range map[string]*tls.Config{"a stranger's certificate": rude, "no certificate": {InsecureSkipVerify: true}} {
		c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		reply, err := c.Get("https://" + addr + "/snapshot?kind=model&id=acme/tiny&revision=main")
		if err == nil {
			t.Errorf("%s: %s (%v)", name, reply.Status, reply.Body.Close())
		}
	}
	plain := &http.Client{Timeout: 5 * time.Second}
	if reply, err := plain.Get("http://" + addr + "/snapshot"); err == nil {
		if reply.StatusCode/100 == 2 {
			t.Errorf("without TLS: %s", reply.Status)
		}
		if err := reply.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	c, err := nodes[1].rank(t, s).peer(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	secret := "file.txt"
	if err := os.WriteFile(nodes[0].config.Cache+"/"+secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/snapshot?kind=model&id=acme/gated&revision=main":           http.StatusForbidden,
		"/snapshot?kind=model&id=acme/tiny&revision=other":           http.StatusForbidden,
		"/snapshot?kind=dataset&id=acme/tiny&revision=main":          http.StatusForbidden,
		"/snapshot?kind=model&id=../../" + secret + "&revision=main": http.StatusForbidden,
		"/blob/" + strings.Repeat("a", 64):                           http.StatusNotFound,
		"/blob/..%2f..%2f" + secret:                                  http.StatusNotFound,
		"/blob/" + sha256Of(bytesOf(10, 6)):                          http.StatusNotFound, // in the repository, not wanted
		"/" + secret:                                                 http.StatusNotFound,
	} {
		reply, err := c.send(t.Context(), http.MethodGet, c.url(path), nil, nil, 0)
		var status *StatusError
		if !errors.As(err, &status) || status.Status != want {
			t.Errorf("%s: %v, %v", path, reply, err)
		}
	}
}

// TestPeerServerAlone: a server whose client asks other nodes could wait for itself.
func TestPeerServerAlone(t *testing.T) {
	c := client(t, start(t), "", func(c *Config) { c.Peers = &Peers{} })
	if _, err := NewPeerServer(c, nil); err == nil {
		t.Error("no error")
	}
}
