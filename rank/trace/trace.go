package trace

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Trace is what devices and hosts did for a while.
type Trace struct {
	Lines []Line
}

// Line is what was done one after the other: by a stream of a device, or by a thread of the host.
type Line struct {
	Owner  string // "/device:GPU:0"; "/host:CUPTI" is the driver
	Name   string // "Stream #14(Compute)"
	ID     int64
	Events []Event // in the order in which they began
}

// Event is a kernel, a copy, or a call.
type Event struct {
	Name  string
	Begin time.Duration // since the first event of the trace
	Took  time.Duration
}

// End is when the event was over.
func (e Event) End() time.Duration { return e.Begin + e.Took }

// Device tells whether the line is a device's.
func (l Line) Device() bool { return strings.HasPrefix(l.Owner, "/device:") }

// settle puts events in order and lets the first of all begin at zero.
func (t *Trace) settle() {
	first := time.Duration(1<<63 - 1)
	for _, l := range t.Lines {
		slices.SortStableFunc(l.Events, func(a, b Event) int { return cmp.Compare(a.Begin, b.Begin) })
		for _, e := range l.Events {
			first = min(first, e.Begin)
		}
	}
	for _, l := range t.Lines {
		for i := range l.Events {
			l.Events[i].Begin -= first
		}
	}
}
