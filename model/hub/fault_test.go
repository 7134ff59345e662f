package hub

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gorun/model/hub/hubtest"
)

// TestMended: faults that pass, or that can be worked around, cost time and nothing else.
func TestMended(t *testing.T) {
	tests := []struct {
		name  string
		fault func(s *hubtest.Server)
	}{
		{"cut mid-file, often", func(s *hubtest.Server) { s.Fault("/contents/", 6, hubtest.Cut(1234)) }},
		{"cut before the first byte", func(s *hubtest.Server) { s.Fault("/contents/", 2, hubtest.Cut(0)) }},
		{"a small file cut", func(s *hubtest.Server) { s.Fault("/resolve/", 1, hubtest.Cut(3)) }},
		{"429", func(s *hubtest.Server) { s.Fault("/resolve/", 2, hubtest.Status(429, "Retry-After", "0")) }},
		{"429 from the listing", func(s *hubtest.Server) { s.Fault("/tree/", 1, hubtest.Status(429)) }},
		{"500 and 503", func(s *hubtest.Server) {
			s.Fault("/revision/", 1, hubtest.Status(500))
			s.Fault("/contents/", 2, hubtest.Status(503))
		}},
		{"a connection reset", func(s *hubtest.Server) {
			s.Fault("/revision/", 1, func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
		}},
		{"an address that expires", func(s *hubtest.Server) { s.Fault("/contents/"+sha256Of(bytesOf(100_000, 1)), 2, later(1, 403)) }},
		{"no ranges", func(s *hubtest.Server) {
			s.Fault("/contents/", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				r.Header.Del("Range")
				next.ServeHTTP(w, r)
			})
		}},
		{"no lengths", func(s *hubtest.Server) {
			s.Fault("/contents/", -1, hubtest.Change(func(b []byte) []byte { return b }))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			c := client(t, s, reader)
			c.pace.tries = 8
			tt.fault(s)
			got, err := c.Fetch(t.Context(), request(t, model))
			if err != nil {
				t.Fatal(err)
			}
			contains(t, s, model, got, wholeModel...)
			noPartial(t, c.cfg.Cache)
		})
	}
}

// later is a fault of a status that befalls every request after the first n.
func later(n int32, status int) func(http.ResponseWriter, *http.Request, http.Handler) {
	var seen atomic.Int32
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if seen.Add(1) <= n {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
	}
}

// TestFails: faults that stay are errors that say what is wrong, and nothing wrong is in the cache.
func TestFails(t *testing.T) {
	flip := func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b }
	tests := []struct {
		name  string
		match string
		do    func(http.ResponseWriter, *http.Request, http.Handler)
		kind  error
		words []string
	}{
		{"wrong contents", "/contents/", hubtest.Change(flip), ErrMismatch, []string{"safetensors", "hash", "was not kept"}},
		{"wrong contents of a small file", "/resolve/", hubtest.Change(flip), ErrMismatch, []string{"hash"}},
		{"too long", "/resolve/", lengthen, ErrMismatch, []string{"bytes, not"}},
		{"another length", "/contents/", resize, ErrMismatch, []string{"bytes, not"}},
		{"other bytes than asked for", "/contents/", shift, ErrHostile, []string{"asked for bytes"}},
		{"compressed", "/resolve/", hubtest.Status(200, "Content-Encoding", "gzip"), ErrHostile, []string{"encoded (gzip)"}},
		{"503 for ever", "/revision/", hubtest.Status(503), nil, []string{"the Hub is in trouble"}},
		{"429 for ever", "/resolve/", hubtest.Status(429, "Retry-After", "0"), nil, []string{"limits how often"}},
		{"429 for an hour", "/revision/", hubtest.Status(429, "Retry-After", "3600"), nil, []string{"asks to wait 1h0m0s"}},
		{"403", "/resolve/", hubtest.Status(403, "X-Error-Message", "no\nway"), ErrAccess, []string{"does not permit", "no way"}},
		{"a redirect loop", "/resolve/", loop, errRedirect, []string{"10 in a row", "HF_ENDPOINT"}},
		{"a login page", "/revision/", page, ErrHostile, []string{"not the Hub's JSON", "HF_ENDPOINT"}},
		{"a commit that is none", "/revision/", reply(`{"sha": "../../x"}`), ErrHostile, []string{"is no commit"}},
		{"a disabled repository", "/revision/", reply(`{"sha": "x", "disabled": true}`), ErrAccess, []string{"disabled"}},
		{"a reply without end", "/revision/", flood, ErrHostile, []string{"longer than"}},
		{"a listing without end", "/tree/", endless, ErrHostile, []string{"without end"}},
		{"a path out of the folder", "/tree/", listing("../../../etc/passwd", 1), ErrHostile, []string{`"../../../etc/passwd"`}},
		{"an absolute path", "/tree/", listing("/etc/passwd", 1), ErrHostile, []string{"/etc/passwd"}},
		{"a path with a backslash", "/tree/", listing(`..\\x`, 1), ErrHostile, nil},
		{"a negative size", "/tree/", listing("config.json", -1), ErrHostile, []string{"-1 bytes"}},
		{"a name twice", "/tree/", reply("[" + item("a", 1) + "," + item("a", 1) + "]"), ErrHostile, []string{"twice"}},
		{"a file as a folder", "/tree/", reply("[" + item("a", 1) + "," + item("a/b", 1) + "]"), ErrHostile, []string{"a file and a folder"}},
		{"a hash that is a path", "/tree/", reply(`[{"type": "file", "path": "config.json", "size": 1, "oid": "../../x"}]`), ErrHostile, []string{"no proper hash"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			c := client(t, s, reader)
			s.Fault(tt.match, -1, tt.do)
			_, err := c.Fetch(t.Context(), request(t, model))
			says(t, err, tt.kind, append(tt.words, "model acme/tiny")...)
			s2 := client(t, s, "", func(cfg *Config) { cfg.Cache, cfg.Offline = c.cfg.Cache, true })
			_, err = s2.Open(t.Context(), request(t, model))
			says(t, err, ErrNotCached)
			if entries, err := os.ReadDir(filepath.Dir(c.cfg.Cache)); err != nil || len(entries) != 2 { // of c and of s2
				t.Errorf("beside the cache: %v (%v)", entries, err)
			}
		})
	}
}

func lengthen(w http.ResponseWriter, r *http.Request, next http.Handler) {
	hubtest.Change(func(b []byte) []byte { return append(bytes.Clone(b), 'x') })(w, r, next)
}

func resize(w http.ResponseWriter, r *http.Request, next http.Handler) {
	w = &headers{w, func(h http.Header) {
		if got := h.Get("Content-Range"); got != "" {
			h.Set("Content-Range", got[:strings.IndexByte(got, '/')]+"/999999")
		}
	}}
	next.ServeHTTP(w, r)
}

func shift(w http.ResponseWriter, r *http.Request, next http.Handler) {
	r.Header.Set("Range", "bytes=1-7000")
	next.ServeHTTP(w, r)
}

// headers changes the headers of a reply.
type headers struct {
	http.ResponseWriter
	change func(http.Header)
}

func (h *headers) WriteHeader(code int) { h.change(h.Header()); h.ResponseWriter.WriteHeader(code) }

func loop(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	http.Redirect(w, r, r.URL.Path, http.StatusFound)
}

func page(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	_, _ = w.Write([]byte("<html>Please log in to the hotel's network</html>"))
}

func reply(text string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write([]byte(text)) }
}

func endless(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	w.Header().Set("Link", "<"+r.URL.Path+`>; rel="next"`)
	_, _ = w.Write([]byte("[]"))
}

func item(path string, size int) string {
	return `{"type": "file", "path": "` + path + `", "size": ` + strconv.Itoa(size) + `, "oid": "` + strings.Repeat("0", 40) + `"}`
}

func listing(path string, size int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return reply("[" + item(path, size) + "]")
}

// TestResume: a download that ended half-way goes on from there, and from nowhere else.
func TestResume(t *testing.T) {
	big := "model-00001-of-00002.safetensors"
	s := start(t)
	files, _, _ := s.Files(model)
	whole := files[big]
	blob := Entry{SHA256: sha256Of(whole)}
	for name, left := range map[string][]byte{
		"nothing": nil, "a part": whole[:50_001], "all": whole, "damaged": bytesOf(50_001, 99), "too long": bytesOf(200_000, 98),
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, s, reader)
			f := c.folder(request(t, model).Repo)
			if err := os.MkdirAll(filepath.Dir(f.blob(blob)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.blob(blob)+".incomplete", left, 0o644); err != nil {
				t.Fatal(err)
			}
			before := len(s.Requests())
			got, err := c.Fetch(t.Context(), request(t, model))
			if err != nil {
				t.Fatal(err)
			}
			contains(t, s, model, got, wholeModel...)
			noPartial(t, c.cfg.Cache)
			asked := 0
			for _, line := range s.Requests()[before:] {
				if strings.HasSuffix(line, blob.SHA256) {
					asked++
				}
			}
			want := map[string]int{"nothing": 15, "a part": 8, "all": 0, "damaged": 8 + 15, "too long": 15}[name]
			if asked != want {
				t.Errorf("%d requests for contents, want %d", asked, want)
			}
		})
	}
}

// TestCancel: what has come when the user stops is kept.
func TestCancel(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int32
	s.Fault("/contents/"+sha256Of(bytesOf(100_000, 1)), -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if n.Add(1) == 12 {
			cancel()
		}
		next.ServeHTTP(w, r)
	})
	_, err := c.Fetch(ctx, request(t, model))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(c.cfg.Cache, "*/blobs/*.incomplete"))
	if err != nil || len(left) == 0 {
		t.Fatalf("nothing was kept (%v)", err)
	}
	got, err := c.Fetch(t.Context(), request(t, model))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, model, got, wholeModel...)
	noPartial(t, c.cfg.Cache)
}

// TestStall: a server that falls silent is left, and asked again for the rest.
func TestStall(t *testing.T) {
	s := start(t)
	c := client(t, s, granted)
	c.stall = 500 * time.Millisecond
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.Fault("/contents/", 1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
		_, _ = w.Write(whole.Body.Bytes()[:1000])
		w.(http.Flusher).Flush()
		<-release
	})
	got, err := c.Fetch(t.Context(), request(t, gated))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, gated, got, "config.json", "model.safetensors")
	if n := count(s, "/contents/"); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestRedirects(t *testing.T) {
	secure := &http.Request{URL: &url.URL{Scheme: "https", Host: "hub"}}
	plain := &http.Request{URL: &url.URL{Scheme: "http", Host: "cdn", RawQuery: "Signature=secret"}}
	err := checkRedirect(plain, []*http.Request{secure})
	says(t, err, errRedirect, "from https to http://cdn")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a signature: %v", err)
	}
	if err := checkRedirect(secure, []*http.Request{plain}); err != nil {
		t.Error(err)
	}
}

func TestWait(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:15 GMT", 10 * time.Second},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:00 GMT", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After", "-5", 0},
		{"RateLimit", `"api";r=0;t=55`, 55 * time.Second},
		{"RateLimit", `"api";r=12;t=55`, 0},
	} {
		if got := waitOf(http.Header{http.CanonicalHeaderKey(tt.name): {tt.value}}, now); got != tt.want {
			t.Errorf("%s: %s is %v, want %v", tt.name, tt.value, got, tt.want)
		}
	}
}
