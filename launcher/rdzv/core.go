package rdzv

import (
	"maps"
	"slices"
	"time"
)

// Output is what the driver must do, in order. Exactly one field is set.
type Output struct {
	Send     *Message // to Message.To, which may be this node
	Start    *Plan    // start this node's ranks
	Announce *Verdict // tell the user
	Abort    bool     // end this node's ranks at once; say RanksGone when they are
	Checkpt  bool     // ask this node's ranks to checkpoint and end
	Finish   *Verdict // the run is over for this node
}

type phase int

const (
	idle    phase = iota // no ranks: announces itself to the leader
	ready                // has promised a leader to run its plan
	running              // has ranks
	closing              // knows the verdict and waits for its ranks to be gone
	ended
)

// Core is one agent's part in agreeing.
//
// Outline. While idle, every node announces itself to the leader, the first live node by less; the leader asks those
// that do not whether they run a generation, prepares a plan, and starts it when all of its nodes are ready. While
// running, nodes report failures and their ranks' ends to the first live node of the plan. That one asks all live nodes
// of the plan, under its ballot, and decides when they have answered: so a decision that a leader made before it died is
// found by the next one and kept. Whoever learns of a verdict passes it on once, and answers later questions about that
// generation with it.
//
// Invariants. A generation starts with one plan, because a node promises itself to one leader at a time and all nodes
// of a plan must have. gen only grows. A verdict, once accepted, never changes. A node lost in a generation stays lost
// for it. After a failure only a side that holds half of the nodes and the first one, or more than half, goes on.
//
// Rejected: ranks by gossip (views differ), a leader elected for good (must be replaced anyhow), a log as in raft (one
// decision per generation needs one ballot, no log).
type Core struct {
	cfg   Config
	now   time.Duration
	out   []Output
	phase phase
	gen   int // the generation that runs, or the next one

	live      map[string]Member // the others that gossip thinks alive
	heard     map[string]bool   // those of them that have said whether they are idle
	joined    map[string]time.Duration
	idleSince time.Duration

	// Leading while idle.
	waiting  map[string]Message // the last Idle of each node
	lastNew  time.Duration      // when waiting grew
	proposal *Plan
	agreed   map[string]int // ports, by node that is ready

	// Of generation gen.
	leader  string // that this node is ready for
	plan    *Plan
	state   State
	lost    map[string]time.Duration
	promise int // lowest ballot that this node listens to
	round   *round
	stop    bool // somebody asked the run to end
	asked   bool // at this node

	verdict *Verdict        // the newest one that this node knows
	decided *Plan           // what it is about
	told    map[string]bool // nodes known to have it
	gone    bool            // closing: the ranks are
	closed  time.Duration   // when closing began
}

// round is a leader's questioning of the nodes of its plan.
type round struct {
	began   time.Duration
	reports map[string]State
	trouble bool // a failure has been reported, at since
	since   time.Duration
}

// New returns the core of a node that is alone so far.
func New(cfg Config, now time.Duration) *Core {
	return &Core{
		cfg: cfg, now: now, idleSince: now,
		live: map[string]Member{}, heard: map[string]bool{}, joined: map[string]time.Duration{}, waiting: map[string]Message{},
	}
}

// Outputs returns what has come up since the last call.
func (c *Core) Outputs() []Output {
	out := c.out
	c.out = nil
	return out
}

// Gen is the generation that runs, or the next one.
func (c *Core) Gen() int { return c.gen }

func (c *Core) emit(o Output) { c.out = append(c.out, o) }

func (c *Core) send(m Message) {
	m.From = c.cfg.Self.ID
	c.emit(Output{Send: &m})
}

// Tick moves time and repeats what may have been lost. Call it a few times a second.
func (c *Core) Tick(now time.Duration) {
	c.now = now
	switch c.phase {
	case idle:
		c.tickIdle()
	case ready:
		c.sendReady()
	case running:
		if c.asked {
			c.tellStop()
		}
		c.tickRunning()
	case closing:
		c.spread()
		c.close()
	}
}

// Joined says that gossip sees a node.
func (c *Core) Joined(m Member) {
	c.live[m.ID] = m
	c.joined[m.ID] = c.now
}

// Lost says that gossip, or a broken connection, thinks a node dead.
func (c *Core) Lost(id string) {
	delete(c.live, id)
	delete(c.heard, id)
	delete(c.waiting, id)
	if c.proposal != nil && c.proposal.GroupRank(id) >= 0 {
		c.withdraw()
	}
	switch {
	case c.phase == ready && c.leader == id:
		c.becomeIdle()
	case c.phase == running && c.plan.GroupRank(id) >= 0:
		if _, known := c.lost[id]; !known {
			c.lost[id] = c.now
		}
		c.tickRunning()
	case c.phase == closing:
		c.close()
	}
}

// StopAsked says that a user or the scheduler wants the run to end: on this node, which tells the others.
func (c *Core) StopAsked() {
	c.asked = true
	c.tellStop()
	c.stopped()
}

func (c *Core) tellStop() {
	for _, id := range slices.Sorted(maps.Keys(c.live)) {
		c.send(Message{Kind: Stop, To: id, Gen: c.gen})
	}
}

func (c *Core) stopped() {
	if c.stop {
		return
	}
	c.stop = true
	switch c.phase {
	case idle, ready:
		c.withdraw()
		c.end(&Verdict{Gen: c.gen, OK: true, Stopped: true})
	case running:
		c.state.Stopped = true
		c.emit(Output{Checkpt: true})
	}
}

// end leaves the run at once.
func (c *Core) end(v *Verdict) {
	c.phase, c.verdict = ended, v
	c.emit(Output{Announce: v})
	c.emit(Output{Finish: v})
}

// Receive handles a message of another node, or of this one.
func (c *Core) Receive(m Message) {
	switch m.Kind {
	case Idle:
		c.onIdle(m)
	case Prepare:
		c.onPrepare(m)
	case Ready:
		c.onReady(m)
	case Cancel:
		if c.phase == ready && m.From == c.leader && m.Gen == c.gen {
			c.becomeIdle()
		}
	case Start:
		c.onStart(m)
	case Query:
		c.onQuery(m)
	case Report:
		c.onReport(m)
	case Decide:
		c.onDecide(m)
	case News:
		c.onNews(m)
	case Stop:
		c.stopped()
	}
}
