package hub

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	l := &lines{out: &out, now: func() time.Time { return now }}
	l.End() // nothing was begun
	l.Begin("model a/b", 2, 4<<20)
	for range 4 {
		now = now.Add(6 * time.Second)
		l.Add(1 << 20)
	}
	l.Note("something")
	l.End()
	want := `model a/b: 2 files, 4.0 MiB
model a/b: 2.0 MiB of 4.0 MiB (50 %) after 12.0 s
model a/b: 4.0 MiB of 4.0 MiB (100 %) after 24.0 s
something
model a/b: 4.0 MiB of 4.0 MiB (100 %) after 24.0 s
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestProgress: what is reported adds up, however often a download starts over, on a terminal too.
func TestProgress(t *testing.T) {
	s := start(t)
	s.Fault("/contents/", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range") // every part is refused, and the file comes whole
		next.ServeHTTP(w, r)
	})
	var out strings.Builder
	b := NewProgress(&out, true)
	sum := &adder{Progress: b}
	r := request(t, model)
	r.Progress = sum
	if _, err := client(t, s, reader).Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if sum.done != sum.total || sum.total < 133_333 {
		t.Errorf("%d of %d bytes", sum.done, sum.total)
	}
	for _, w := range []string{"model acme/tiny: ", "files", "100%", "\n"} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("the bar does not show %q: %q", w, out.String())
		}
	}
}

// adder adds up what is reported.
type adder struct {
	Progress
	mu          sync.Mutex
	done, total int64
}

func (a *adder) Begin(what string, files int, bytes int64) {
	a.mu.Lock()
	a.total += bytes
	a.mu.Unlock()
	a.Progress.Begin(what, files, bytes)
}

func (a *adder) Add(bytes int64) {
	a.mu.Lock()
	a.done += bytes
	a.mu.Unlock()
	a.Progress.Add(bytes)
}
