package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What callers may tell apart.
var (
	// ErrOffline says that something would need the network, which HF_HUB_OFFLINE forbids.
	ErrOffline = errors.New("HF_HUB_OFFLINE is set")
	// ErrNotCached says that the cache has no whole snapshot of what was asked for.
	ErrNotCached = errors.New("not in the cache")
	// ErrAccess says that the Hub does not give this to the user: gated, private, or a bad token.
	ErrAccess = errors.New("no access")
	// ErrNotFound says that there is no such repository, revision or file.
	ErrNotFound = errors.New("not found on the Hub")
	// ErrMismatch says that contents are not what the listing promised: another length or another hash.
	ErrMismatch = errors.New("not the file that the Hub lists")
	// ErrHostile says that a server sent what no Hub sends.
	ErrHostile = errors.New("refused what the server sent")
	// ErrNoSpace says that the disk of the cache is full.
	ErrNoSpace = errors.New("no space for the download")
)

// StatusError is a reply that is not 2xx.
type StatusError struct {
	Method, URL string // without the query
	Status      int
	Code        string        // the Hub's X-Error-Code: GatedRepo, RepoNotFound, RevisionNotFound, EntryNotFound, or ""
	Message     string        // what the server says, shortened
	Wait        time.Duration // what it asks to wait, 0 if it does not
	FromHub     bool          // not from a content network that the Hub sent us to
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// maxErrorBody bounds what is read of the body of an error.
const maxErrorBody = 64 << 10

// statusError reads an error's reply and closes it.
func (c *Client) statusError(reply *http.Response) error {
	defer reply.Body.Close() //nolint:errcheck // only read from
	e := &StatusError{
		Method: reply.Request.Method, URL: clip(withoutQuery(reply.Request.URL)), Status: reply.StatusCode,
		Code: reply.Header.Get("X-Error-Code"), Message: reply.Header.Get("X-Error-Message"),
		Wait: waitOf(reply.Header, time.Now()), FromHub: sameOrigin(reply.Request.URL, c.base),
	}
	if text, err := io.ReadAll(io.LimitReader(reply.Body, maxErrorBody)); err == nil && e.Message == "" {
		var body struct{ Error string }
		if json.Unmarshal(text, &body) == nil {
			e.Message = body.Error
		}
	}
	e.Message = oneLine(e.Message)
	return e
}

// oneLine makes a stranger's message fit to print.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return strings.TrimSpace(s)
}

// rateLimit matches the Hub's RateLimit header when nothing is left: "api";r=0;t=55.
var rateLimit = regexp.MustCompile(`;\s*r=0\s*;\s*t=(\d{1,6})`)

// waitOf is how long a reply asks to wait: Retry-After in seconds or as a date, or the end of a used-up rate limit.
func waitOf(h http.Header, now time.Time) time.Duration {
	after := strings.TrimSpace(h.Get("Retry-After"))
	if after == "" {
		if m := rateLimit.FindStringSubmatch(h.Get("RateLimit")); m != nil {
			after = m[1]
		}
	}
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(after); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
