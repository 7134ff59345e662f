package rdzv

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// RankFailed says that a rank of this node ended badly, hangs or did not start.
func (c *Core) RankFailed(gen int, f Failure) {
	if c.phase != running || gen != c.gen {
		return
	}
	f.Node, f.noticed = c.cfg.Self.ID, c.now
	c.state.Failures = append(c.state.Failures, f)
	c.tickRunning()
}

// RanksDone says that all ranks of this node have ended well.
func (c *Core) RanksDone(gen int) {
	if c.phase != running || gen != c.gen {
		return
	}
	c.state.Done = true
	c.tickRunning()
}

// head is the first node of the plan that this node thinks alive: it decides.
func (c *Core) head() int {
	return slices.IndexFunc(c.plan.Nodes, func(m Member) bool { _, lost := c.lost[m.ID]; return !lost })
}

// eventful tells whether this node has something that the head must know.
func (c *Core) eventful() bool { return c.state.Done || len(c.state.Failures) > 0 }

func (c *Core) tickRunning() {
	head := c.head()
	if c.plan.Nodes[head].ID != c.cfg.Self.ID {
		c.round = nil
		if c.eventful() {
			c.report(c.plan.Nodes[head].ID)
		}
		return
	}
	if c.round == nil {
		if len(c.lost) == 0 && !c.eventful() {
			return
		}
		c.ask()
	}
	for _, m := range c.plan.Nodes {
		if _, lost := c.lost[m.ID]; !lost {
			c.send(Message{Kind: Query, To: m.ID, Gen: c.gen, Ballot: head, Plan: c.plan})
		}
	}
	c.conclude()
}

func (c *Core) ask() { c.round = &round{began: c.now, reports: map[string]State{}} }

// report tells a leader how this node's part is doing.
func (c *Core) report(to string) {
	s := c.state
	s.Verdict = c.verdict
	s.Failures = slices.Clone(s.Failures)
	for i := range s.Failures {
		s.Failures[i].Age = c.now - s.Failures[i].noticed
	}
	c.send(Message{Kind: Report, To: to, Gen: c.gen, Ballot: c.promise, Node: &s})
}

// onQuery answers a leader whose ballot is not below the promise. A node that never got its Start learns here that the
// generation began.
func (c *Core) onQuery(m Message) {
	switch {
	case m.Plan == nil || m.Plan.GroupRank(m.From) != m.Ballot || m.Plan.GroupRank(c.cfg.Self.ID) < 0:
	case c.phase == closing && m.Gen == c.gen:
		c.decideTo(m.From)
	case (c.phase == idle || c.phase == ready) && c.verdict != nil && c.verdict.Gen == m.Gen:
		c.decideTo(m.From)
	case c.phase == ready && m.Gen == c.gen:
		c.run(m.Plan)
		c.promise = m.Ballot
		c.report(m.From)
	case c.phase == running && m.Gen == c.gen && m.Ballot >= c.promise:
		c.promise = m.Ballot
		c.report(m.From)
	}
}

func (c *Core) onReport(m Message) {
	if m.Node == nil {
		return
	}
	if c.verdict != nil && c.verdict.Gen == m.Gen && c.phase != running {
		c.decideTo(m.From)
		return
	}
	if c.phase != running || m.Gen != c.gen || c.plan.GroupRank(m.From) < 0 {
		return
	}
	head := c.head()
	if c.plan.Nodes[head].ID != c.cfg.Self.ID {
		return
	}
	if c.round == nil {
		c.ask()
		c.tickRunning()
	}
	if c.round == nil || m.Ballot != head {
		return
	}
	s := *m.Node
	for i := range s.Failures {
		s.Failures[i].noticed = c.now - s.Failures[i].Age
	}
	c.round.reports[m.From] = s
	c.conclude()
}

// conclude decides, if the answers allow it.
func (c *Core) conclude() {
	var missing []string
	for _, m := range c.plan.Nodes {
		_, lost := c.lost[m.ID]
		if _, answered := c.round.reports[m.ID]; !lost && !answered {
			missing = append(missing, m.ID)
		}
	}
	if len(missing) > 0 {
		if c.now-c.round.began < c.cfg.Reply {
			return
		}
		for _, id := range missing {
			if id != c.cfg.Self.ID { // it listens to a higher ballot, but is not gone
				c.lost[id] = c.now
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.round.reports)) {
		if v := c.round.reports[id].Verdict; v != nil {
			c.accept(v)
			return
		}
	}
	v := c.judge()
	switch {
	case v == nil:
	case v.OK:
		c.accept(v)
	case !c.round.trouble: // a better explanation may still be on its way
		c.round.trouble, c.round.since = true, c.now
	case c.now-c.round.since >= c.cfg.Settle:
		c.accept(v)
	}
}

// judge weighs the reports; nil means that the generation goes on.
func (c *Core) judge() *Verdict {
	var failures []Failure
	var progress []Progress
	done, stopped := true, false
	for _, r := range c.round.reports {
		failures = append(failures, r.Failures...)
		progress = append(progress, r.Progress...)
		done, stopped = done && r.Done, stopped || r.Stopped
	}
	for id, at := range c.lost {
		failures = append(failures, Failure{Cause: NodeLost, Node: id, Rank: -1, Detail: c.plan.describe(id), noticed: at})
	}
	if len(failures) == 0 {
		if !done {
			return nil
		}
		return &Verdict{Gen: c.gen, OK: true, Stopped: stopped}
	}
	v := &Verdict{Gen: c.gen, Failure: rootCause(failures), NotArrived: notArrived(progress)}
	if n := alike(v.Failure, failures); n > 1 {
		v.Alike, v.World = n, c.plan.World()
	}
	if v.Failure.Cause == Hung && len(v.NotArrived) > 0 {
		v.Failure = c.blame(v.Failure, v.NotArrived[0], progress)
	}
	v.Restart, v.Why = c.mayRestart(stopped)
	return v
}

// blame turns "a rank waits too long" into "this is the rank that it waits for".
func (c *Core) blame(waiter *Failure, rank int, progress []Progress) *Failure {
	f := Failure{Cause: Hung, Rank: rank, Detail: fmt.Sprintf("rank %d waits for it in %s (number %d)", waiter.Rank, waiter.Op, waiter.Seq)}
	for _, p := range progress {
		if p.Rank == rank {
			f.PID, f.Step, f.Op, f.Seq = p.PID, p.Step, p.Op, p.Seq
		}
	}
	for group, m := range c.plan.Nodes {
		if first := c.plan.FirstRank(group); rank >= first && rank < first+m.Slots {
			f.Node = m.ID
		}
	}
	return &f
}

// mayRestart tells whether another generation may follow, and if not, why, where the user has asked for restarts.
func (c *Core) mayRestart(stopped bool) (bool, string) {
	all, alive := len(c.plan.Nodes), len(c.plan.Nodes)-len(c.lost)
	_, firstLost := c.lost[c.plan.Nodes[0].ID]
	switch {
	case c.cfg.MaxRestarts == 0:
		return false, ""
	case stopped:
		return false, "the run was asked to stop"
	case c.gen >= c.cfg.MaxRestarts:
		return false, fmt.Sprintf("--max-restarts %d are used up", c.cfg.MaxRestarts)
	case !quorum(alive, all, !firstLost):
		return false, fmt.Sprintf("%d of %d nodes are left here, and the others may be running on: lost %s", alive, all, strings.Join(slices.Sorted(maps.Keys(c.lost)), ", "))
	}
	return true, ""
}

// accept makes a verdict this node's own, and tells the plan.
func (c *Core) accept(v *Verdict) {
	c.phase, c.verdict, c.decided, c.closed, c.gone = closing, v, c.plan, c.now, false
	c.told = map[string]bool{c.cfg.Self.ID: true}
	c.emit(Output{Announce: v})
	c.emit(Output{Abort: true})
	c.spread()
	if !v.Restart {
		for _, id := range slices.Sorted(maps.Keys(c.live)) {
			if c.plan.GroupRank(id) < 0 {
				c.decideTo(id)
			}
		}
	}
}

// spread repeats the verdict to those that have not been heard to know it.
func (c *Core) spread() {
	for _, m := range c.plan.Nodes {
		if !c.told[m.ID] {
			c.decideTo(m.ID)
		}
	}
}

func (c *Core) decideTo(id string) {
	c.send(Message{Kind: Decide, To: id, Gen: c.verdict.Gen, Ballot: c.promise, Verdict: c.verdict, Plan: c.decided})
}

func (c *Core) onDecide(m Message) {
	switch {
	case m.Verdict == nil || m.Verdict.Gen != m.Gen || m.Plan == nil:
	case m.Plan.GroupRank(c.cfg.Self.ID) < 0: // the run that this node waits for a place in is over
		if (c.phase == idle || c.phase == ready) && !m.Verdict.Restart && m.Gen >= c.gen-1 {
			c.withdraw()
			c.end(m.Verdict)
		}
	case c.phase == closing && m.Gen == c.gen:
		if !c.told[m.From] {
			c.told[m.From] = true
			c.decideTo(m.From) // so that it knows that this node knows
		}
		c.close()
	case c.phase == running && m.Gen == c.gen && m.Ballot >= c.promise, c.phase == ready && m.Gen == c.gen:
		c.plan = m.Plan
		c.promise = m.Ballot
		c.accept(m.Verdict)
		c.told[m.From] = true
	}
}

// RanksGone says that no rank of this node is left.
func (c *Core) RanksGone(gen int) {
	if c.phase == closing && gen == c.gen {
		c.gone = true
		c.close()
	}
}

// close leaves the generation when the ranks are gone and all live nodes know the verdict, or had time to.
func (c *Core) close() {
	if !c.gone {
		return
	}
	for _, m := range c.plan.Nodes {
		_, alive := c.live[m.ID]
		if alive && !c.told[m.ID] && c.now-c.closed < linger {
			return
		}
	}
	if c.verdict.Restart && !c.stop {
		c.gen++
		c.becomeIdle()
		return
	}
	c.phase = ended
	c.emit(Output{Finish: c.verdict})
}

// linger is how long a node that has ended stays to tell the verdict to others that are silent.
const linger = 2 * time.Second
