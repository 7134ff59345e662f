package rdzv

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomFaults plays 200 rounds of random faults (150 without a partition, where all live nodes must agree, and 50
// with one, where at most one side may go on) and holds them to the invariants of Core.
func TestRandomFaults(t *testing.T) {
	for seed := uint64(1); seed <= 200; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := &fuzzRound{t: t, rng: rand.New(rand.NewPCG(seed, 2)), partitions: seed > 150}
			r.start(seed)
			for range 60 {
				r.fault()
				r.w.pass(time.Duration(r.rng.IntN(1500)) * time.Millisecond)
				r.check()
			}
			r.settle()
		})
	}
}

// fuzzRound is one cluster that things happen to.
type fuzzRound struct {
	t          *testing.T
	rng        *rand.Rand
	w          *world
	joined     int
	partitions bool
	lastGen    map[string]int
}

func (r *fuzzRound) start(seed uint64) {
	cfg := DefaultConfig(Member{})
	cfg.MinNodes = 1 + r.rng.IntN(3)
	cfg.MaxNodes = cfg.MinNodes + r.rng.IntN(3)
	cfg.MaxRestarts, cfg.LastCall, cfg.JoinTimeout = r.rng.IntN(4), 2*time.Second, 20*time.Second
	r.w = newWorld(cfg, seed)
	r.w.verbose = true
	r.w.loss = float64(r.rng.IntN(3)) * 0.1
	r.lastGen = map[string]int{}
	for range cfg.MaxNodes {
		r.join()
	}
}

func (r *fuzzRound) join() {
	r.joined++
	id := fmt.Sprintf("n%02d-%d", r.rng.IntN(100), r.joined) // a late node may come first in the order
	r.w.join(Member{ID: id, Slots: 1 + r.rng.IntN(2), NodeRank: -1})
}

// upright are the nodes that still take part.
func (r *fuzzRound) upright() (ids []string) {
	for _, id := range r.w.names() {
		if n := r.w.nodes[id]; !n.dead && n.finished == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *fuzzRound) fault() {
	ids := r.upright()
	if len(ids) == 0 {
		return
	}
	id := ids[r.rng.IntN(len(ids))]
	n := r.w.nodes[id]
	switch r.rng.IntN(12) {
	case 0:
		r.w.crash(id)
		r.w.pass(time.Duration(r.rng.IntN(300)) * time.Millisecond)
		for _, other := range r.upright() { // gossip finds out, here sooner than there
			r.w.notice(other, id)
			r.w.pass(time.Duration(r.rng.IntN(200)) * time.Millisecond)
		}
	case 1, 2:
		n.core.RankFailed(n.gen, Failure{Cause: causes[r.rng.IntN(5)], Rank: 0, Signal: "SIGKILL", Code: 1})
		r.w.drain(id)
	case 3:
		n.core.RanksDone(n.gen)
		n.ranks = false
		r.w.drain(id)
	case 4:
		if r.joined < 8 {
			r.join()
		}
	case 5:
		// Before the first generation there is nothing that one side could hold the majority of.
		if r.partitions && len(r.w.cut) == 0 && len(n.started) > 0 {
			r.partition(ids)
		}
	case 6:
		r.heal()
	case 7:
		if r.rng.IntN(10) == 0 {
			n.core.StopAsked()
			r.w.drain(id)
		}
	}
}

func (r *fuzzRound) partition(ids []string) {
	at := r.rng.IntN(len(ids))
	for _, a := range ids[:at] {
		for _, b := range ids[at:] {
			r.w.cut[a+" "+b] = true
			r.w.notice(a, b)
			r.w.notice(b, a)
		}
	}
}

func (r *fuzzRound) heal() {
	clear(r.w.cut)
	for _, a := range r.upright() {
		for _, b := range r.upright() {
			if a != b {
				r.w.nodes[a].core.Joined(r.w.nodes[b].core.cfg.Self)
			}
		}
	}
}

// settle lets every node come to an end: whoever has ranks ends them well.
func (r *fuzzRound) settle() {
	r.heal()
	for range 200 {
		for _, id := range r.upright() {
			if n := r.w.nodes[id]; n.ranks {
				n.core.RanksDone(n.gen)
				n.ranks = false
				r.w.drain(id)
			}
		}
		r.w.pass(500 * time.Millisecond)
		r.check()
	}
	for _, id := range r.upright() {
		r.fail("%s has not ended, in generation %d", id, r.w.nodes[id].core.Gen())
	}
}

func (r *fuzzRound) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf(format+"\n%s", append(args, r.w.log.String())...)
}

// check holds the invariants.
func (r *fuzzRound) check() {
	plans, verdicts := map[int]*Plan{}, map[int]*Verdict{}
	for _, id := range r.w.names() {
		n := r.w.nodes[id]
		if n.core.Gen() < r.lastGen[id] {
			r.fail("%s went back from generation %d to %d", id, r.lastGen[id], n.core.Gen())
		}
		r.lastGen[id] = n.core.Gen()
		if n.finished != nil && n.ranks {
			r.fail("%s has ended and left ranks behind", id)
		}
		if p := n.started[n.gen]; n.ranks && !n.dead {
			if q := plans[n.gen]; q != nil && fmt.Sprint(*p) != fmt.Sprint(*q) {
				r.fail("generation %d runs as %v and as %v", n.gen, *p, *q)
			}
			plans[n.gen] = p
		}
		if n.dead || r.partitions {
			continue
		}
		for gen, v := range n.verdicts {
			if n.started[gen] == nil {
				continue // gave up waiting
			}
			if u := verdicts[gen]; u != nil && u.Line() != v.Line() {
				r.fail("generation %d ended in two ways:\n%s\n%s", gen, u.Line(), v.Line())
			}
			verdicts[gen] = v
		}
	}
}
