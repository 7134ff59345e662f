package rdzv

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// world is a cluster without machines: cores, and messages that may be late, lost or cut off.
type world struct {
	cfg     Config
	now     time.Duration
	nodes   map[string]*simNode
	mail    []mail
	cut     map[string]bool // "a b": nothing gets through, either way
	loss    float64
	rng     *rand.Rand
	log     strings.Builder
	seen    map[string]bool // sends that are in the log already
	verbose bool
}

type mail struct {
	at  time.Duration
	seq int
	msg Message
}

type simNode struct {
	core     *Core
	dead     bool
	finished *Verdict
	verdicts map[int]*Verdict
	started  map[int]*Plan
	ranks    bool
	gen      int
	behind   int // collectives that its ranks are behind the others'
}

const simTick = 100 * time.Millisecond

func newWorld(cfg Config, seed uint64) *world {
	return &world{cfg: cfg, nodes: map[string]*simNode{}, cut: map[string]bool{}, rng: rand.New(rand.NewPCG(seed, 1)), seen: map[string]bool{}}
}

func (w *world) printf(format string, args ...any) {
	if w.verbose {
		fmt.Fprintf(&w.log, "%6.1fs  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *world) names() []string { return slices.Sorted(maps.Keys(w.nodes)) }

// join starts an agent, which sees all others at once.
func (w *world) join(m Member) {
	cfg := w.cfg
	cfg.Self = m
	n := &simNode{core: New(cfg, w.now), verdicts: map[int]*Verdict{}, started: map[int]*Plan{}}
	for _, id := range w.names() {
		if other := w.nodes[id]; w.linked(m.ID, id) && !other.dead && other.finished == nil {
			other.core.Joined(m)
			n.core.Joined(other.core.cfg.Self)
		}
	}
	w.nodes[m.ID] = n
}

func (w *world) linked(a, b string) bool { return !w.cut[a+" "+b] && !w.cut[b+" "+a] }

// crash ends an agent and its ranks without a word.
func (w *world) crash(id string) { w.nodes[id].dead = true }

// notice lets a node's gossip find a silence.
func (w *world) notice(at, about string) {
	w.nodes[at].core.Lost(about)
	w.drain(at)
}

// drain does what a core has asked for.
func (w *world) drain(id string) {
	n := w.nodes[id]
	for _, o := range n.core.Outputs() {
		switch {
		case o.Send != nil:
			w.post(*o.Send)
		case o.Start != nil:
			n.started[o.Start.Gen], n.ranks, n.gen = o.Start, true, o.Start.Gen
			group := o.Start.GroupRank(id)
			w.printf("%s starts generation %d: group rank %d, ranks from %d, world %d, master %s:%d",
				id, o.Start.Gen, group, o.Start.FirstRank(group), o.Start.World(), o.Start.MasterAddr, o.Start.MasterPort)
		case o.Announce != nil:
			n.verdicts[o.Announce.Gen] = o.Announce
			w.printf("%s says: %s", id, o.Announce.Line())
		case o.Abort:
			n.ranks = false
			n.core.RanksGone(n.core.Gen())
			w.drain(id)
		case o.Checkpt:
			w.printf("%s asks its ranks to checkpoint", id)
		case o.Finish != nil:
			n.finished = o.Finish
			w.printf("%s ends", id)
		}
	}
}

func (w *world) post(m Message) {
	key := fmt.Sprintf("%s > %s %s %d", m.From, m.To, m.Kind, m.Gen)
	if !w.seen[key] {
		w.seen[key] = true
		w.printf("%s > %s %s, generation %d", m.From, m.To, m.Kind, m.Gen)
	}
	if m.From != m.To && (w.rng.Float64() < w.loss || !w.linked(m.From, m.To)) {
		return
	}
	delay := time.Duration(0)
	if m.From != m.To {
		delay = time.Duration(1+w.rng.IntN(40)) * time.Millisecond
	}
	if m.Kind == Ready {
		m.Port = 29500
	}
	if m.Kind == Report {
		n, state := w.nodes[m.From], *m.Node
		if p := n.started[m.Gen]; p != nil {
			group := p.GroupRank(m.From)
			first := p.FirstRank(group)
			for rank := first; rank < first+p.Nodes[group].Slots; rank++ {
				state.Progress = append(state.Progress, Progress{Rank: rank, PID: 100 + rank, Step: 7, Op: "all-reduce", Seq: 3 - n.behind, Begun: n.behind == 0, Alive: n.ranks})
			}
		}
		m.Node = &state
	}
	w.mail = append(w.mail, mail{w.now + delay, len(w.mail), m})
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	for end := w.now + d; w.now < end; {
		next := min(end, w.now+simTick)
		w.deliver(next)
		w.now = next
		for _, id := range w.names() {
			if n := w.nodes[id]; !n.dead && n.finished == nil {
				n.core.Tick(w.now)
				w.drain(id)
			}
		}
	}
	w.deliver(w.now)
}

func (w *world) deliver(until time.Duration) {
	for {
		i := -1
		for k, m := range w.mail {
			if m.at <= until && (i < 0 || m.at < w.mail[i].at) {
				i = k
			}
		}
		if i < 0 {
			return
		}
		m := w.mail[i]
		w.mail = slices.Delete(w.mail, i, i+1)
		w.now = max(w.now, m.at)
		if n := w.nodes[m.msg.To]; n != nil && !n.dead && n.finished == nil && w.linked(m.msg.From, m.msg.To) {
			n.core.Receive(m.msg)
			w.drain(m.msg.To)
		}
	}
}
