package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Timeouts of a connection. There is none for a whole download: it may take hours, as long as bytes come.
const (
	dialTimeout   = 15 * time.Second
	headerTimeout = 60 * time.Second
	stallTimeout  = 60 * time.Second // between two reads of a body
	maxRedirects  = 10
)

// maxReply bounds a reply of the API that is read whole; a page of a listing has some 300 KiB.
const maxReply = 16 << 20

// Client talks to one Hub. Its methods may be used from several goroutines.
type Client struct {
	cfg   Config
	base  *url.URL
	http  *http.Client
	pace  pace
	stall time.Duration
	// buffers holds one buffer for each connection that may be open for contents; nil where it was never used.
	buffers chan []byte
	part    int64  // bytes in one request for contents
	name    string // of who is asked, for messages
}

// Connections for contents at once, over all files, and the bytes that each asks for: 128 MiB of memory at most.
const (
	connections = 8
	partSize    = 16 << 20
)

// New makes a client. Nothing is sent yet.
func New(c Config) (*Client, error) {
	base, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	if c.Agent == "" {
		c.Agent = "gorun"
	}
	// Without HTTP/2, which would send all parts of a file over one TCP connection and its one window.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		Protocols:             protocols,
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		MaxIdleConnsPerHost:   connections,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // lengths and offsets are those of the file
	}
	client := &Client{cfg: c, base: base, pace: defaultPace, stall: stallTimeout, part: partSize, name: "the Hub", buffers: make(chan []byte, connections)}
	for range connections {
		client.buffers <- nil
	}
	client.http = &http.Client{Transport: &signer{base: base, token: c.Token, next: transport}, CheckRedirect: checkRedirect}
	return client, nil
}

// Endpoint is the Hub's URL, without a slash at its end.
func (c *Client) Endpoint() string { return c.url("") }

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// signer adds the token to requests for the Hub itself: scheme, host and port must be those of the endpoint. Where a
// redirect leads elsewhere, to a content network, the token stays behind; net/http alone would carry it to another
// port of the same host.
type signer struct {
	base  *url.URL
	token string
	next  *http.Transport
}

func (s *signer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	if s.token != "" && sameOrigin(r.URL, s.base) {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.next.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client's method of this name.
func (s *signer) CloseIdleConnections() { s.next.CloseIdleConnections() }

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	switch p := u.Port(); {
	case p != "":
		return p
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// errRedirect is wrapped by errors about where a redirect leads.
var errRedirect = errors.New("redirect refused")

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: %d in a row: is HF_ENDPOINT a Hub, and does the proxy let it through?", errRedirect, len(via))
	}
	if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return fmt.Errorf("%w: it leads from https to %s", errRedirect, clip(withoutQuery(r.URL)))
	}
	return nil
}

// withoutQuery is a URL as messages may show it: what is signed is in the query.
func withoutQuery(u *url.URL) string {
	v := *u
	v.RawQuery, v.Fragment, v.User = "", "", nil
	return v.String()
}

// url is the URL of a path of the Hub; the path is escaped already.
func (c *Client) url(path string) string { return strings.TrimRight(c.base.String(), "/") + path }

// send makes one request and returns a reply of 2xx, whose body the caller closes; anything else is an error.
func (c *Client) send(ctx context.Context, method, url string, header http.Header, body io.Reader, length int64) (*http.Response, error) {
	if c.cfg.Offline {
		return nil, ErrOffline
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if body != nil {
		r.ContentLength = length
	}
	r.Header.Set("User-Agent", c.cfg.Agent)
	r.Header.Set("Accept-Encoding", "identity")
	reply, err := c.http.Do(r)
	if err != nil {
		return nil, quiet(err)
	}
	if reply.StatusCode/100 != 2 {
		return nil, c.statusError(reply)
	}
	return reply, nil
}

// quiet takes the query out of net/http's error: it may hold a signature.
func quiet(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	at := u.URL
	if parsed, parseErr := url.Parse(u.URL); parseErr == nil {
		at = withoutQuery(parsed)
	}
	return fmt.Errorf("%s %s: %w", u.Op, clip(at), u.Err)
}

// call makes a request with a JSON body (none if in is nil), tries it again while that may help, and decodes the JSON
// that comes back into out (unless nil). It returns the reply's header.
func (c *Client) call(ctx context.Context, method, url string, in, out any) (http.Header, error) {
	var text []byte
	header := http.Header{"Accept": {"application/json"}}
	if in != nil {
		var err error
		if text, err = json.Marshal(in); err != nil {
			return nil, err
		}
		header.Set("Content-Type", "application/json")
	}
	return c.exchange(ctx, method, url, header, text, out)
}

// exchange is call with a body that is bytes already.
func (c *Client) exchange(ctx context.Context, method, url string, header http.Header, in []byte, out any) (got http.Header, err error) {
	err = c.retry(ctx, c.name, func() error {
		var body io.Reader
		if in != nil {
			body = bytes.NewReader(in)
		}
		reply, err := c.send(ctx, method, url, header, body, int64(len(in)))
		if err != nil {
			return err
		}
		text, err := readAll(c.watch(reply))
		if err != nil {
			return fmt.Errorf("read the reply of %s: %w", withoutQuery(reply.Request.URL), err)
		}
		got = reply.Header
		if out == nil {
			return nil
		}
		if err := json.Unmarshal(text, out); err != nil {
			return fmt.Errorf("%w: the reply of %s is not the Hub's JSON (%w): is HF_ENDPOINT a Hub?", ErrHostile, withoutQuery(reply.Request.URL), err)
		}
		return nil
	})
	return got, err
}

// readAll reads a whole body of at most maxReply bytes and closes it.
func readAll(body io.ReadCloser) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxReply+1))
	err = errors.Join(err, body.Close())
	if err == nil && len(text) > maxReply {
		err = fmt.Errorf("%w: it is longer than %d MiB", ErrHostile, maxReply>>20)
	}
	return text, err
}

// watch returns a reply's body; a read of it that waits longer than the client's stall time fails.
func (c *Client) watch(reply *http.Response) io.ReadCloser {
	b := &watched{body: reply.Body, wait: c.stall}
	b.timer = time.AfterFunc(c.stall, func() { b.stalled.Store(true); _ = reply.Body.Close() }) // the read fails, and tells
	return b
}
