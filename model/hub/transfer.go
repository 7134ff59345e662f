package hub

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// transfer writes the contents of one file from several connections.
//
// Parts of the file arrive in any order, each in a buffer of its own, and are written and hashed in the order of the
// file. So the partial file is at every moment the first bytes of the whole, whose length alone says how far it is:
// nothing else need be kept to go on after a crash, the hash costs no second reading, and huggingface_hub's older
// releases, which resume the same file, may take over. Writing each part at its place as it arrives would need no
// buffers, but a record of the holes, and a reading of the whole at the end.
//
// Buffers are the client's and few: who has one may have a connection. Buffers are taken in the order of the file, so
// the part that is to be written next always has one, and no file can starve.
type transfer struct {
	source   *source
	file     *os.File
	sum      hash.Hash // of the first done bytes
	done     int64     // bytes written
	progress Progress
}

// part is bytes [from, to) of the file.
type part struct {
	from, to int64
	buffer   []byte        // [:got] has arrived
	arrived  chan struct{} // closed when all have
}

// errNoRanges says that the server sends files only whole.
var errNoRanges = errors.New("the server sends no parts of files")

// run fetches everything from t.done on.
func (t *transfer) run(ctx context.Context) error {
	c := t.source.client
	work, ctx := errgroup.WithContext(ctx)
	parts := make(chan *part, connections)
	var lent atomic.Int64 // buffers taken from the client and not given back
	work.Go(func() error {
		defer close(parts)
		for from := t.done; from < t.source.entry.Size; from += c.part {
			p := &part{from: from, to: min(from+c.part, t.source.entry.Size), arrived: make(chan struct{})}
			select {
			case p.buffer = <-c.buffers:
				lent.Add(1)
			case <-ctx.Done():
				return ctx.Err()
			}
			if int64(cap(p.buffer)) < p.to-p.from {
				p.buffer = make([]byte, p.to-p.from)
			}
			p.buffer = p.buffer[:p.to-p.from]
			work.Go(func() error { return t.source.fill(ctx, p) })
			parts <- p // has room for all that can be lent
		}
		return nil
	})
	work.Go(func() error {
		for p := range parts {
			select {
			case <-p.arrived:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := t.write(p.buffer); err != nil {
				return err
			}
			c.buffers <- p.buffer
			lent.Add(-1)
		}
		return nil
	})
	err := work.Wait()
	for range lent.Load() {
		c.buffers <- nil
	}
	return err
}

// write appends to the file.
func (t *transfer) write(b []byte) error {
	n, err := t.file.WriteAt(b, t.done)
	t.sum.Write(b[:n]) // a hash cannot fail
	t.done += int64(n)
	t.progress.Add(int64(n))
	return err
}

// whole fetches the file from its start in one stream, for a server without ranges.
func (t *transfer) whole(ctx context.Context) error {
	return t.source.client.retry(ctx, t.source.entry.Path, func() error {
		t.progress.Add(-t.done)
		t.done, t.sum = 0, t.source.entry.digest()
		reply, err := t.source.get(ctx, 0, -1)
		if err != nil {
			return err
		}
		body := t.source.client.watch(reply)
		_, err = io.Copy(writer(t.write), io.LimitReader(body, t.source.entry.Size+1))
		return errors.Join(err, body.Close())
	})
}

// writer is a write method as an io.Writer.
type writer func([]byte) error

func (w writer) Write(p []byte) (int, error) { return len(p), w(p) }

// source is where the contents of a file come from: the Hub, or where it sends us. The address of a content network is
// asked for once and used for all parts: the Hub counts requests.
type source struct {
	client *Client
	url    string // at the Hub
	entry  Entry

	mu     sync.Mutex
	direct string // where the Hub sent us, "" = not asked yet; protected by mu
}

// fill makes one part arrive; what has come before a fault is not asked for again.
func (s *source) fill(ctx context.Context, p *part) error {
	var got int64
	err := s.client.retry(ctx, s.entry.Path, func() error {
		reply, err := s.get(ctx, p.from+got, p.to)
		if err != nil {
			return err
		}
		body := s.client.watch(reply)
		n, err := io.ReadFull(body, p.buffer[got:])
		got += int64(n)
		return errors.Join(err, body.Close())
	})
	if err != nil {
		return err
	}
	close(p.arrived)
	return nil
}

// get asks for bytes [from, to) of the file, or for all of it if to is -1, and checks that this is what comes.
func (s *source) get(ctx context.Context, from, to int64) (*http.Response, error) {
	header := http.Header{}
	if to >= 0 && (from > 0 || to < s.entry.Size) {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	}
	reply, err := s.ask(ctx, header)
	if err != nil {
		return nil, err
	}
	if err := s.checkReply(reply, header.Get("Range") != "", from, to); err != nil {
		return nil, errors.Join(err, reply.Body.Close())
	}
	return reply, nil
}

// ask sends the request to the content network if its address is known, else to the Hub, whose redirect is remembered.
func (s *source) ask(ctx context.Context, header http.Header) (*http.Response, error) {
	s.mu.Lock()
	direct := s.direct
	if direct == "" {
		defer s.mu.Unlock() // others wait for the address
		reply, err := s.client.send(ctx, http.MethodGet, s.url, header, nil, 0)
		if err == nil {
			s.direct = reply.Request.URL.String()
		}
		return reply, err
	}
	s.mu.Unlock()
	reply, err := s.client.send(ctx, http.MethodGet, direct, header, nil, 0)
	var status *StatusError
	if errors.As(err, &status) && status.Status/100 == 4 && !status.FromHub && status.Status != http.StatusTooManyRequests {
		s.forget(direct)
		return nil, fmt.Errorf("%w (%w)", errExpired, err)
	}
	return reply, err
}

// errExpired says that a signed address no longer holds; the Hub gives a new one.
var errExpired = errors.New("the address of the contents has expired")

func (s *source) forget(direct string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.direct == direct {
		s.direct = ""
	}
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

// checkReply refuses a reply whose headers say that it is not what was asked for.
func (s *source) checkReply(reply *http.Response, ranged bool, from, to int64) error {
	size := s.entry.Size
	if enc := reply.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("%w: %s comes encoded (%s), which was not asked for", ErrHostile, s.entry.Path, clip(enc))
	}
	want := size
	switch {
	case ranged && reply.StatusCode == http.StatusOK:
		return errNoRanges
	case ranged:
		m := contentRange.FindStringSubmatch(reply.Header.Get("Content-Range"))
		if m == nil || m[1] != strconv.FormatInt(from, 10) || m[2] != strconv.FormatInt(to-1, 10) {
			return fmt.Errorf("%w: asked for bytes %d to %d of %s, got %q", ErrHostile, from, to-1, s.entry.Path, clip(reply.Header.Get("Content-Range")))
		}
		if m[3] != "*" && m[3] != strconv.FormatInt(size, 10) {
			return fmt.Errorf("%w: %s has %s bytes, not %d", ErrMismatch, s.entry.Path, m[3], size)
		}
		want = to - from
	}
	if n := reply.ContentLength; n >= 0 && n != want {
		return fmt.Errorf("%w: %s comes with %d bytes, not %d", ErrMismatch, s.entry.Path, n, want)
	}
	return nil
}
