package trace

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Summary is a trace in numbers, for steps that it is of. Times are sums over these steps.
type Summary struct {
	Steps   int
	Span    time.Duration // from the first event of the device to the end of the last
	Idle    time.Duration // of Span, the device did nothing
	Gaps    []time.Duration
	Kinds   [kinds]time.Duration // what the device did, by kind
	Kernels []Total              // of the device, the longest first
	Waits   []Total              // calls in which the host waits for the device, the longest first
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

// waits are the driver's calls that return when the device has come to a point, as it names them.
var waits = []string{"cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize", "cuMemcpyDtoH"}

// Summarize sums a trace of a number of steps up. Where the trace has several devices it is about the first.
func (t *Trace) Summarize(steps int) Summary {
	s := Summary{Steps: steps}
	device := slices.IndexFunc(t.Lines, func(l Line) bool { return l.Device() && len(l.Events) > 0 })
	var all, host []Event
	for _, l := range t.Lines {
		switch {
		case device >= 0 && l.Owner == t.Lines[device].Owner:
			all = append(all, l.Events...)
		case !l.Device():
			host = append(host, slices.DeleteFunc(slices.Clone(l.Events), func(e Event) bool { return !waiting(e.Name) })...)
		}
	}
	s.Kernels, s.Waits = totals(all), totals(host)
	for _, k := range s.Kernels {
		s.Kinds[kindOf(k.Name)] += k.Took
	}
	s.gaps(all)
	return s
}

func waiting(call string) bool {
	return slices.ContainsFunc(waits, func(w string) bool { return strings.HasPrefix(call, w) })
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

// gaps finds when none of the device's events was under way.
func (s *Summary) gaps(all []Event) {
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b Event) int { return cmp.Compare(a.Begin, b.Begin) })
	end := all[0].Begin
	for _, e := range all {
		if e.Begin > end {
			s.Gaps = append(s.Gaps, e.Begin-end)
			s.Idle += e.Begin - end
		}
		end = max(end, e.End())
	}
	s.Span = end - all[0].Begin
	slices.Sort(s.Gaps)
	slices.Reverse(s.Gaps)
}

// most is how many kernels and calls are printed.
const most = 12

// Print writes the summary, all of it for one step.
func (s Summary) Print(w io.Writer) {
	n := time.Duration(s.Steps)
	if s.Span == 0 {
		fmt.Fprintln(w, "the trace has nothing of a device")
		return
	}
	fmt.Fprintf(w, "of a step, the device takes %s, and does nothing for %s (%.1f %%; the longest %s)\n", ms(s.Span/n), ms(s.Idle/n), share(s.Idle, s.Span), s.longest())
	fmt.Fprintf(w, "  products %s, attention %s, copies %s, all else %s\n",
		ms(s.Kinds[products]/n), ms(s.Kinds[attention]/n), ms(s.Kinds[copies]/n), ms(s.Kinds[others]/n))
	for i, k := range s.Kernels {
		if i == most {
			fmt.Fprintf(w, "  and %d kernels more\n", len(s.Kernels)-most)
			break
		}
		fmt.Fprintf(w, "  %5.1f %%  %9s  %6.1f x  %s\n", share(k.Took, s.Span), ms(k.Took/n), float64(k.Count)/float64(n), cut(k.Name))
	}
	if len(s.Waits) == 0 {
		fmt.Fprintln(w, "the host waits for the device in no call of the driver")
	}
	for _, c := range s.Waits {
		fmt.Fprintf(w, "the host waits in %s: %.1f x, %s\n", c.Name, float64(c.Count)/float64(n), ms(c.Took/n))
	}
}

// longest are the longest gaps.
func (s Summary) longest() string {
	if len(s.Gaps) == 0 {
		return "none"
	}
	var list []string
	for _, g := range s.Gaps[:min(3, len(s.Gaps))] {
		list = append(list, ms(g))
	}
	return strings.Join(list, ", ")
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
