package collective

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// Event is the start or the end of a collective, for progress reports.
type Event struct {
	Op   string // "all-gather"
	What string // "block 7"
	Comm string // "dp_shard"
	Seq  uint64 // of the communicator, from 1
	End  bool

	Aside bool // it is none of the run's own, and is not reported
}

// flightLength is how many collectives are remembered.
const flightLength = 64

// entry is one collective in the flight record.
type entry struct {
	Event
	bytes      int
	start, end time.Time // end is zero while it runs
	err        error
}

// flight remembers the last collectives of a process, over all its communicators, and how far each communicator is.
type flight struct {
	observe func(Event) // may be nil

	mu   sync.Mutex
	last []entry // a ring; next is where the oldest is
	next int
	at   map[string]Event // by communicator: the last thing that happened
}

func newFlight(observe func(Event)) *flight {
	return &flight{observe: observe, at: map[string]Event{}}
}

// begin notes a collective and returns what notes its end.
func (f *flight) begin(e Event, bytes int) (end func(error)) {
	f.mu.Lock()
	if len(f.last) < flightLength {
		f.last = append(f.last, entry{})
	}
	slot := f.next % flightLength
	f.next++
	f.last[slot] = entry{Event: e, bytes: bytes, start: time.Now()}
	f.at[e.Comm] = e
	f.mu.Unlock()
	f.tell(e)
	return func(err error) {
		e.End = true
		f.mu.Lock()
		if x := &f.last[slot]; x.Seq == e.Seq && x.Comm == e.Comm {
			x.End, x.end, x.err = true, time.Now(), err
		}
		if err == nil && f.at[e.Comm].Seq <= e.Seq { // on a device, the next may have begun
			f.at[e.Comm] = e
		}
		f.mu.Unlock()
		if err == nil {
			f.tell(e)
		}
	}
}

func (f *flight) tell(e Event) {
	if f.observe != nil && !e.Aside {
		f.observe(e)
	}
}

// state says how far a communicator is.
func (f *flight) state(comm string) Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at[comm]
}

// String is the record, oldest first, a line for each collective with its time since the oldest.
func (f *flight) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	var zero time.Time
	for i := range f.last {
		e := f.last[(f.next+i)%len(f.last)]
		if i == 0 {
			zero = e.start
		}
		fmt.Fprintf(&b, "%10.3f s  %s %d  %s %s, %d bytes: ", e.start.Sub(zero).Seconds(), e.Comm, e.Seq, e.Op, e.What, e.bytes)
		switch {
		case e.err != nil:
			fmt.Fprintf(&b, "failed after %.3f s: %v\n", e.end.Sub(e.start).Seconds(), e.err)
		case e.End:
			fmt.Fprintf(&b, "%.3f s\n", e.end.Sub(e.start).Seconds())
		default:
			b.WriteString("not ended\n")
		}
	}
	return b.String()
}
