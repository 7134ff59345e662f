package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	stdlog "log" //nolint:depguard // net/http takes no other
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// PeerServer gives the models and datasets of a run to its other nodes: these and no others, and of them the files that
// the run needs. What this node does not have it fetches from the Hub first, under the locks that its own ranks wait for
// too; so of many nodes that ask the same one, none but that one asks the Hub.
//
//	GET /snapshot?kind=model&id=ORG/NAME&revision=main    peerReply, with blank lines before it while the node fetches
//	GET /blob/ETAG                                        contents of a file of a snapshot that was asked for
type PeerServer struct {
	client *Client
	wanted []Request
	alive  time.Duration // between blank lines

	mu    sync.Mutex
	paths map[string]string // of files by their etag; protected by mu
}

// peerReply is what a node says of a snapshot.
type peerReply struct {
	Commit string          `json:",omitempty"`
	Tree   json.RawMessage `json:",omitempty"` // a treeFile: the commit's listing
	Error  string          `json:",omitempty"` // why it does not have it
}

// peerAlive is well within the time after which a silent connection is given up.
const peerAlive = stallTimeout / 10

// NewPeerServer serves what c, a client without Peers, has or can fetch of what is wanted.
func NewPeerServer(c *Client, wanted []Request) (*PeerServer, error) {
	if c.cfg.Peers != nil {
		return nil, errors.New("hub: a node that asks others cannot answer them: they might wait for each other")
	}
	s := &PeerServer{client: c, alive: peerAlive, paths: map[string]string{}}
	for _, r := range wanted {
		if err := r.settle(); err != nil {
			return nil, err
		}
		s.wanted = append(s.wanted, r)
	}
	return s, nil
}

// Serve answers nodes that hold the key until ctx ends, and closes l.
func (s *PeerServer) Serve(ctx context.Context, l net.Listener, key []byte) error {
	return s.serve(ctx, l, key, s.routes())
}

func (s *PeerServer) routes() http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /snapshot", s.snapshot)
	routes.HandleFunc("GET /blob/{etag}", s.blob)
	return routes
}

func (s *PeerServer) serve(ctx context.Context, l net.Listener, key []byte, routes http.Handler) error {
	secure, err := peerTLS(key)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{
		Handler: routes, TLSConfig: secure, ReadHeaderTimeout: dialTimeout, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: quietLog(s.client.cfg.Log),
	}
	ended := context.AfterFunc(ctx, func() { _ = server.Close() }) // Serve returns
	defer ended()
	if err := server.Serve(tls.NewListener(l, secure)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve files to other nodes: %w", err)
	}
	return nil
}

// snapshot makes sure that this node has what is asked for, and lists it.
func (s *PeerServer) snapshot(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	at := slices.IndexFunc(s.wanted, func(x Request) bool {
		return string(x.Repo.Kind) == q.Get("kind") && x.Repo.ID == q.Get("id") && x.Revision == q.Get("revision")
	})
	if at < 0 {
		http.Error(w, "not part of this run", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	replied := make(chan peerReply, 1)
	go func() { replied <- s.open(r.Context(), s.wanted[at]) }()
	tick := time.NewTicker(s.alive)
	defer tick.Stop()
	for {
		select {
		case reply := <-replied:
			_ = json.NewEncoder(w).Encode(reply) // who asked notices
			return
		case <-tick.C:
			if _, err := w.Write([]byte("\n")); err != nil {
				continue // its context ends, and with it the fetch
			}
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
		}
	}
}

// open fetches a snapshot unless it is here, and makes its files known.
func (s *PeerServer) open(ctx context.Context, r Request) peerReply {
	got, err := s.client.Open(ctx, r)
	if err != nil {
		return peerReply{Error: err.Error()}
	}
	f := s.client.folder(r.Repo)
	entries, ok := f.readTree(got.Commit)
	if !ok {
		return peerReply{Error: "its cache has no listing of " + r.Repo.String()}
	}
	tree, err := encodeTree(entries)
	if err != nil {
		return peerReply{Error: err.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if slices.Contains(got.Files, e.Path) {
			s.paths[e.etag()] = f.pointer(got.Commit, e)
		}
	}
	return peerReply{Commit: got.Commit, Tree: tree}
}

// blob sends the contents of a file, or a range of them.
func (s *PeerServer) blob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	path, ok := s.paths[r.PathValue("etag")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	f, err := os.Open(path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close() //nolint:errcheck // only read from
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f)
}

// quietLog passes what net/http complains of, such as strangers that connect, to the debug log.
func quietLog(log zerolog.Logger) *stdlog.Logger { return stdlog.New(debugWriter{log}, "", 0) }

type debugWriter struct{ log zerolog.Logger }

func (d debugWriter) Write(p []byte) (int, error) {
	d.log.Debug().Msg("files for other nodes: " + strings.TrimSpace(string(p)))
	return len(p), nil
}
