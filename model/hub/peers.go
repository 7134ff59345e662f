package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Peers are the nodes of a run, which give each other what one of them has: PeerServer is the other end. The first node
// is asked before the Hub is, and waits for what it fetches itself, so that the Hub gives every file to one node. A node
// that the Hub gives nothing, for want of a network, a token or the Hub, asks all others.
type Peers struct {
	Addrs []string // HOST:PORT of every node's server, in the same order on all nodes
	Self  int      // this node's place in it
	Key   []byte   // what the run's nodes know each other by
}

// peerPace is how patiently a node is asked: it is near, and there are others.
var peerPace = pace{tries: 3, wait: 200 * time.Millisecond, maxWait: 2 * time.Second}

// peerDial is how long a node may take to answer a call; one that is gone does not.
const peerDial = 5 * time.Second

// fetchAmong brings the snapshot from the nodes before this one, else from the Hub, else from those behind it. The error
// is the Hub's; what nodes say is logged.
func (c *Client) fetchAmong(ctx context.Context, r Request) (*Snapshot, error) {
	p := c.cfg.Peers
	if p == nil {
		return c.fetch(ctx, r)
	}
	ask := func(addrs []string) *Snapshot {
		for _, addr := range addrs {
			s, err := c.fetchPeer(ctx, addr, r)
			if err == nil {
				return s
			}
			if ctx.Err() != nil {
				return nil
			}
			c.cfg.Log.Warn().Msgf("%s is not to be had from node %s: %v", r.Repo, addr, err)
		}
		return nil
	}
	if s := ask(p.Addrs[:p.Self]); s != nil {
		return s, nil
	}
	s, err := c.fetch(ctx, r)
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoSpace) {
		return s, err
	}
	c.cfg.Log.Warn().Msgf("%s: %v: asking the other nodes", r.Repo, c.explain(r.Repo, r.Revision, err))
	if s := ask(p.Addrs[p.Self+1:]); s != nil {
		return s, nil
	}
	return nil, err
}

// fetchPeer brings the snapshot from another node. Its files are checked against the listing that it gives, as the Hub's
// are; what has arrived of a file before the node fails is kept for the next source.
func (c *Client) fetchPeer(ctx context.Context, addr string, r Request) (*Snapshot, error) {
	peer, err := c.peer(addr)
	if err != nil {
		return nil, err
	}
	defer peer.Close()
	q := url.Values{"kind": {string(r.Repo.Kind)}, "id": {r.Repo.ID}, "revision": {r.Revision}}
	var reply peerReply
	if _, err := peer.call(ctx, http.MethodGet, peer.url("/snapshot?"+q.Encode()), nil, &reply); err != nil {
		return nil, err
	}
	if reply.Error != "" {
		return nil, errors.New(oneLine(reply.Error))
	}
	all, err := parseTreeFile(reply.Tree)
	if err == nil && !commitPattern.MatchString(reply.Commit) {
		err = fmt.Errorf("commit %q", clip(reply.Commit))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: its listing: %w", ErrHostile, err)
	}
	r.Progress.Note(fmt.Sprintf("%s comes from node %s", r.Repo, addr))
	d := &delivery{client: c, Request: r, folder: c.folder(r.Repo), commit: reply.Commit}
	d.source = func(e Entry) *source {
		return &source{client: peer, url: peer.url("/blob/" + e.etag()), entry: e}
	}
	return d.all(ctx, all, false)
}

// peer is a client of another node. It shares this one's buffers, and has neither its token nor a proxy.
func (c *Client) peer(addr string) (*Client, error) {
	secure, err := peerTLS(c.cfg.Peers.Key)
	if err != nil {
		return nil, err
	}
	p := *c
	p.cfg.Token, p.cfg.Peers, p.pace, p.name = "", nil, peerPace, "node "+addr
	p.base = &url.URL{Scheme: "https", Host: addr}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	p.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		Transport: &http.Transport{
			Protocols: protocols, TLSClientConfig: secure, DialContext: (&net.Dialer{Timeout: peerDial}).DialContext,
			TLSHandshakeTimeout: peerDial, ResponseHeaderTimeout: headerTimeout, MaxIdleConnsPerHost: connections, DisableCompression: true,
		},
	}
	return &p, nil
}
