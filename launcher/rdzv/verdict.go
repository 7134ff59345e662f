package rdzv

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Cause is the class of a failure, the likeliest root first: a rank that was killed explains why others failed, not the
// other way round.
type Cause string

// The causes.
const (
	Killed   Cause = "killed"  // a rank ended by a signal that its agent did not send
	NodeLost Cause = "node"    // an agent does not answer any more
	Exited   Cause = "exited"  // a rank ended with an exit code other than 0
	Hung     Cause = "hung"    // a rank is inside one collective for longer than the timeout
	NoStart  Cause = "nostart" // a rank could not be started
	TooFew   Cause = "toofew"  // the nodes that were asked for have not come
)

var causes = []Cause{NoStart, Killed, NodeLost, Exited, Hung, TooFew}

// Failure is one thing that went wrong. Rank is -1 where it is not about one rank.
type Failure struct {
	Cause  Cause         `json:"cause"`
	Node   string        `json:"node"`
	Rank   int           `json:"rank"`
	PID    int           `json:"pid,omitempty"`
	Signal string        `json:"signal,omitempty"`
	Code   int           `json:"code,omitempty"`
	Step   int           `json:"step,omitempty"`
	Op     string        `json:"op,omitempty"`
	Seq    int           `json:"seq,omitempty"`
	Detail string        `json:"detail,omitempty"`
	Error  string        `json:"error,omitempty"` // why the rank ended, in its own words: one line or several
	Tail   string        `json:"tail,omitempty"`  // the end of the rank's log of stderr
	Age    time.Duration `json:"age,omitempty"`   // since it was noticed, at the time of sending

	noticed time.Duration // by this core's time
}

// Verdict is how a generation ended: the same on every node that could be told.
type Verdict struct {
	Gen        int      `json:"gen"`
	OK         bool     `json:"ok"`
	Stopped    bool     `json:"stopped,omitempty"` // ended early because somebody asked for it
	Failure    *Failure `json:"failure,omitempty"`
	Alike      int      `json:"alike,omitempty"`       // ranks that ended with the same Error, if there are several
	World      int      `json:"world,omitempty"`       // of so many
	NotArrived []int    `json:"not_arrived,omitempty"` // ranks that others waited for in a collective
	Restart    bool     `json:"restart"`
	Why        string   `json:"why,omitempty"` // why there is no restart, where one was asked for
}

// Line is the verdict in one line.
func (v *Verdict) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d: ", v.Gen)
	switch {
	case v.OK && v.Stopped:
		b.WriteString("stopped as asked")
	case v.OK:
		b.WriteString("all ranks are done")
	default:
		b.WriteString(v.Failure.line())
	}
	if len(v.NotArrived) > 0 {
		fmt.Fprintf(&b, "; had not arrived: ranks %s", strings.Trim(fmt.Sprint(v.NotArrived), "[]"))
	}
	if !v.OK {
		b.WriteString(v.said())
	}
	switch {
	case v.Restart:
		b.WriteString("; restarting")
	case v.Why != "":
		b.WriteString("; no restart: " + v.Why)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, b.String())
}

func (f *Failure) line() string {
	who := "node " + f.Node
	if f.Rank >= 0 {
		who += fmt.Sprintf(": rank %d", f.Rank)
	}
	if f.PID > 0 {
		who += fmt.Sprintf(" (pid %d)", f.PID)
	}
	what := ""
	switch f.Cause {
	case Killed:
		what = "was killed by " + f.Signal
	case NodeLost:
		what = "does not answer any more"
	case Exited:
		what = fmt.Sprintf("ended with exit code %d", f.Code)
	case Hung:
		what = "makes no progress"
	case NoStart:
		what = "did not start"
	case TooFew:
		what = "gave up waiting"
	}
	if f.Rank >= 0 && f.Cause != NoStart {
		what += fmt.Sprintf(" after step %d", f.Step)
		if f.Op != "" {
			what += fmt.Sprintf(", last collective %s (number %d)", f.Op, f.Seq)
		}
	}
	if f.Detail != "" {
		what += ": " + f.Detail
	}
	return who + " " + what
}

// said is what the rank said of its failure, and how many ranks said the same.
func (v *Verdict) said() string {
	f := v.Failure
	if f.Error == "" {
		if f.Tail == "" {
			return ""
		}
		return "; stderr: " + lastLine(f.Tail)
	}
	who := "it says"
	switch {
	case v.Alike > 1 && v.Alike == v.World:
		who = fmt.Sprintf("all %d ranks say", v.World)
	case v.Alike > 1:
		who = fmt.Sprintf("%d of %d ranks say", v.Alike, v.World)
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(f.Error), "\n")
	if rest != "" {
		first += fmt.Sprintf(" (and %d more lines)", 1+strings.Count(rest, "\n"))
	}
	return fmt.Sprintf("; %s: %s", who, first)
}

// alike counts the failures that are the same error as f, which is one of them.
func alike(f *Failure, all []Failure) (n int) {
	for _, o := range all {
		if o.Error == f.Error && o.Error != "" {
			n++
		}
	}
	return n
}

// lastLine is the last line of a text that says anything.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// rootCause picks the failure that explains the others: by class, then the one noticed first.
func rootCause(all []Failure) *Failure {
	worst := slices.MinFunc(all, func(a, b Failure) int {
		return cmp.Or(
			cmp.Compare(slices.Index(causes, a.Cause), slices.Index(causes, b.Cause)),
			cmp.Compare(a.noticed, b.noticed), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Node, b.Node))
	})
	return &worst
}

// notArrived returns the ranks that have not begun the collective that others are inside of, also those that never will:
// of a rank that died this says that the others were waiting for it.
func notArrived(all []Progress) (ranks []int) {
	furthest := 0
	for _, p := range all {
		if p.Begun {
			furthest = max(furthest, p.Seq)
		}
	}
	for _, p := range all {
		if p.Seq < furthest {
			ranks = append(ranks, p.Rank)
		}
	}
	slices.Sort(ranks)
	return slices.Compact(ranks)
}
