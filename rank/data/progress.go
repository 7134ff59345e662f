package data

import (
	"sync"
	"time"
)

// Progress is told how tokenising goes. Its methods may be called from several goroutines.
type Progress interface {
	Begin(what string, files int, bytes int64) // bytes of all files
	Add(bytes int64)                           // that many more have been read
	Note(line string)                          // something that the user should know
	End()                                      // it has ended, well or not
}

// quick is how long something may take before progress is told of it: small data sets are no news.
const quick = 2 * time.Second

// lateProgress tells of a data set that takes longer than quick.
type lateProgress struct {
	to    Progress // nil = nobody
	what  string
	files int
	bytes int64

	mu    sync.Mutex
	start time.Time // of the first add
	begun bool      // Begin has been called
	early int64     // bytes before it
}

func (p *lateProgress) add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.start.IsZero() {
		p.start = time.Now()
	}
	switch {
	case p.to == nil:
	case p.begun:
		p.to.Add(n)
	default:
		if p.early += n; time.Since(p.start) > quick {
			p.begun = true
			p.to.Begin(p.what, p.files, p.bytes)
			p.to.Add(p.early)
		}
	}
}

func (p *lateProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun {
		p.to.End()
	}
}

// later calls tell unless what it returns is called within quick.
func later(tell func()) (cancel func()) {
	t := time.AfterFunc(quick, tell)
	return func() { t.Stop() }
}
