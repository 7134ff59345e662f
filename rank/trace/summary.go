package trace

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Summary is a trace in numbers, for the whole steps in it. Times are sums over these steps.
type Summary struct {
	Steps   int                  // whole ones
	Span    time.Duration        // of them
	Idle    time.Duration        // of Span, the device did nothing
	Gaps    []time.Duration      // in which it did nothing, the longest first
	Kinds   [kinds]time.Duration // what the device did, by kind
	Kernels []Total              // of the device, the longest first
}

// Total is all events of one name.
type Total struct {
	Name  string
	Count int
	Took  time.Duration
}

// The kinds of what a device does.
const (
	products  = iota // matrix products of cuBLAS
	attention        // cuDNN's
	copies           // and clearings of memory
	others           // gorun's own kernels and XLA's
	kinds
)

// kindOf tells a kernel's kind by its name, as the libraries name theirs.
func kindOf(name string) int {
	lower := strings.ToLower(name)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(lower, w) })
	}
	switch {
	case has("fmha", "flash", "cudnn"):
		return attention
	case has("gemm", "nvjet", "cutlass", "cublas", "splitk"):
		return products
	case has("memcpy", "memset"):
		return copies
	}
	return others
}

// Summarize sums a trace of a number of steps up. Where the trace has several devices it is about the first.
func (t *Trace) Summarize(steps int) Summary {
	var owner string
	var all []Event
	for _, l := range t.Lines {
		if !l.Device() || len(l.Events) == 0 || owner != "" && l.Owner != owner {
			continue
		}
		owner = l.Owner
		all = append(all, l.Events...)
	}
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.Begin, b.Begin) })
	var s Summary
	var from, to time.Duration
	s.Steps, from, to = whole(all, steps)
	all = slices.DeleteFunc(all, func(e Event) bool { return e.Begin < from || e.Begin >= to })
	s.Span = to - from
	s.Kernels = totals(all)
	for _, k := range s.Kernels {
		s.Kinds[kindOf(k.Name)] += k.Took
	}
	s.gaps(all, from, to)
	return s
}

// whole finds the whole steps in a device's events, given in order: those between the second time and the last that a kernel
// runs which runs once a step. When a recording begins the host has queued nothing yet, and at its end it waits for the last
// step. Without such a kernel, or with fewer than 3 steps, all is taken.
func whole(all []Event, steps int) (n int, from, to time.Duration) {
	if len(all) == 0 {
		return steps, 0, 0
	}
	times := map[string][]time.Duration{}
	for _, e := range all {
		times[e.Name] = append(times[e.Name], e.Begin)
		to = max(to, e.End())
	}
	for _, e := range all {
		if at := times[e.Name]; len(at) == steps && steps > 2 && kindOf(e.Name) != copies {
			return steps - 2, at[1], at[steps-1]
		}
	}
	return steps, all[0].Begin, to
}

// totals adds events of one name up.
func totals(events []Event) (out []Total) {
	at := map[string]int{}
	for _, e := range events {
		i, ok := at[e.Name]
		if !ok {
			i = len(out)
			at[e.Name], out = i, append(out, Total{Name: e.Name})
		}
		out[i].Count++
		out[i].Took += e.Took
	}
	slices.SortFunc(out, func(a, b Total) int { return cmp.Or(cmp.Compare(b.Took, a.Took), cmp.Compare(a.Name, b.Name)) })
	return out
}

// gaps finds when none of the device's events, given in order, was under way.
func (s *Summary) gaps(all []Event, from, to time.Duration) {
	end := from
	gap := func(begin time.Duration) {
		if begin > end {
			s.Gaps = append(s.Gaps, begin-end)
			s.Idle += begin - end
		}
	}
	for _, e := range all {
		gap(e.Begin)
		end = max(end, e.End())
	}
	gap(to)
	slices.Sort(s.Gaps)
	slices.Reverse(s.Gaps)
}

// most is how many kernels are printed.
const most = 12

// Print writes the summary, all of it for one step.
func (s Summary) Print(w io.Writer) {
	if s.Span == 0 {
		fmt.Fprintln(w, "the trace has nothing of a device")
		return
	}
	n := time.Duration(s.Steps)
	fmt.Fprintf(w, "while it is traced, the device works for %s of a step and does nothing for %s (%.1f %%; the longest gap %s)\n",
		ms((s.Span-s.Idle)/n), ms(s.Idle/n), share(s.Idle, s.Span), ms(s.longest()))
	fmt.Fprintf(w, "  matrix products %s, attention %s, copies %s, all else %s\n",
		ms(s.Kinds[products]/n), ms(s.Kinds[attention]/n), ms(s.Kinds[copies]/n), ms(s.Kinds[others]/n))
	for _, k := range s.Kernels[:min(most, len(s.Kernels))] {
		fmt.Fprintf(w, "  %5.1f %%  %11s  %6.1f x  %s\n", share(k.Took, s.Span), ms(k.Took/n), float64(k.Count)/float64(s.Steps), cut(k.Name))
	}
	if more := len(s.Kernels) - most; more > 0 {
		fmt.Fprintf(w, "  and %d kernels more\n", more)
	}
}

// longest is the longest gap.
func (s Summary) longest() time.Duration {
	if len(s.Gaps) == 0 {
		return 0
	}
	return s.Gaps[0]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond)) }

func share(part, all time.Duration) float64 { return 100 * float64(part) / float64(all) }

// cut is a kernel's name, which C++ makes long.
func cut(name string) string {
	const long = 90
	if len(name) > long {
		name = name[:long-3] + "..."
	}
	return name
}
