package hub

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
)

// Progress is told how a download or an upload goes. Its methods may be called from several goroutines.
type Progress interface {
	Begin(what string, files int, bytes int64) // bytes of all files, those that are there already too
	Add(bytes int64)                           // that much more is there; negative where something is done again
	Note(line string)                          // something that the user should know
	End()                                      // it has ended, well or not
}

// NewProgress shows progress on w: a bar on a terminal, elsewhere a line now and then.
func NewProgress(w io.Writer, terminal bool) Progress {
	if terminal {
		return &bar{out: w}
	}
	return &lines{out: w, now: time.Now}
}

// silent shows nothing.
type silent struct{}

func (silent) Begin(string, int, int64) {}
func (silent) Add(int64)                {}
func (silent) Note(string)              {}
func (silent) End()                     {}

// bar is progress on a terminal.
type bar struct {
	mu  sync.Mutex
	out io.Writer
	bar *progressbar.ProgressBar // protected by mu
}

const barPause = 100 * time.Millisecond // between two drawings

func (b *bar) Begin(what string, files int, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar = progressbar.NewOptions64(max(bytes, 1), progressbar.OptionSetWriter(b.out), progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionThrottle(barPause),
		progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(true), progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetDescription(fmt.Sprintf("%s: %s", what, filesText(files))))
}

// A terminal that is gone does not stop a download: errors of drawing are of no interest.

func (b *bar) Add(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Add64(bytes)
	}
}

func (b *bar) Note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	fmt.Fprintln(b.out, line)
}

func (b *bar) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Exit()
		fmt.Fprintln(b.out)
		b.bar = nil
	}
}

// lines is progress in a log.
type lines struct {
	out io.Writer
	now func() time.Time

	mu          sync.Mutex
	what        string
	total, done int64
	start, last time.Time // of Begin and of the last line
}

const linePause = 10 * time.Second // between two lines

func (l *lines) Begin(what string, files int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.what, l.total, l.done = what, bytes, 0
	l.start = l.now()
	l.last = l.start
	fmt.Fprintf(l.out, "%s: %s, %s\n", what, filesText(files), humanize.IBytes(uint64(bytes)))
}

func (l *lines) Add(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += bytes
	if l.now().Sub(l.last) >= linePause {
		l.last = l.now()
		l.tell()
	}
}

func (l *lines) Note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.out, line)
}

func (l *lines) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.what != "" {
		l.tell()
		l.what = ""
	}
}

func (l *lines) tell() {
	seconds := l.now().Sub(l.start).Seconds()
	percent := 100.0
	if l.total > 0 {
		percent = 100 * float64(l.done) / float64(l.total)
	}
	fmt.Fprintf(l.out, "%s: %s of %s (%.0f %%) after %.1f s\n", l.what, humanize.IBytes(uint64(l.done)), humanize.IBytes(uint64(l.total)), percent, seconds)
}

func filesText(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}
