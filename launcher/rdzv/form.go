package rdzv

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// becomeIdle waits for the next plan.
func (c *Core) becomeIdle() {
	c.phase, c.leader, c.idleSince, c.lastNew = idle, "", c.now, c.now
	c.waiting, c.heard = map[string]Message{}, map[string]bool{}
}

// first is the node that leads while there is no plan.
func (c *Core) first() string {
	best := c.cfg.Self
	for _, m := range c.live {
		if less(m, best) < 0 {
			best = m
		}
	}
	return best.ID
}

func (c *Core) tickIdle() {
	if c.now-c.idleSince > c.cfg.JoinTimeout {
		c.withdraw()
		c.end(&Verdict{Gen: c.gen, Failure: &Failure{Cause: TooFew, Node: c.cfg.Self.ID, Rank: -1, Detail: c.shortage()}})
		return
	}
	self := c.cfg.Self
	c.send(Message{Kind: Idle, To: c.first(), Gen: c.gen, Member: &self, Plan: c.decided})
	if c.first() != self.ID {
		c.withdraw()
		return
	}
	if c.proposal != nil {
		c.propose()
		return
	}
	for _, id := range slices.Sorted(maps.Keys(c.live)) {
		if !c.heard[id] { // it may run a generation that this node came too late for, and know nothing of this node
			c.send(Message{Kind: Idle, To: id, Gen: c.gen, Member: &self, Plan: c.decided})
		}
	}
	c.form()
}

// Waiting returns the live nodes, this one included, while it waits for ranks to run; nil while it has some.
func (c *Core) Waiting() []string {
	if c.phase != idle && c.phase != ready {
		return nil
	}
	return slices.Sorted(maps.Keys(c.present()))
}

// present are the live nodes and this one.
func (c *Core) present() map[string]Member {
	all := maps.Clone(c.live)
	all[c.cfg.Self.ID] = c.cfg.Self
	return all
}

func (c *Core) shortage() string {
	names := slices.Sorted(maps.Keys(c.present()))
	return fmt.Sprintf("%d nodes are wanted, and %d are here after %s: %s", c.cfg.MinNodes, len(names), c.cfg.JoinTimeout, strings.Join(names, ", "))
}

func (c *Core) onIdle(m Message) {
	if m.Member == nil || m.Member.ID != m.From {
		return
	}
	switch {
	case c.phase == closing && !c.verdict.Restart:
		c.decideTo(m.From)
	case c.phase == running || c.phase == closing:
		c.send(Message{Kind: News, To: m.From, Gen: c.gen})
	case m.Gen < c.gen:
		c.send(Message{Kind: News, To: m.From, Gen: c.gen - 1})
	}
	if c.phase != idle {
		return
	}
	if _, known := c.waiting[m.From]; !known {
		c.lastNew = c.now
	}
	c.waiting[m.From], c.heard[m.From] = m, true
	if c.proposal == nil && c.first() == c.cfg.Self.ID {
		c.form()
	}
}

// form proposes a plan if enough nodes wait.
func (c *Core) form() {
	n := len(c.waiting)
	if _, here := c.waiting[c.cfg.Self.ID]; !here || n < c.cfg.MinNodes || n < c.cfg.MaxNodes && c.now-c.lastNew < c.cfg.LastCall {
		return
	}
	if c.silence() {
		return
	}
	plan := &Plan{Gen: c.gen}
	for _, id := range slices.Sorted(maps.Keys(c.waiting)) {
		m := c.waiting[id]
		plan.Nodes = append(plan.Nodes, *m.Member)
		plan.Gen = max(plan.Gen, m.Gen)
	}
	last := c.before(plan.Gen)
	if plan.Gen > 0 && (!c.mayFollow(last) || c.stillEnding(last)) {
		return
	}
	slices.SortFunc(plan.Nodes, func(a, b Member) int { return cmp.Or(last.newcomer(a)-last.newcomer(b), less(a, b)) })
	plan.Nodes = plan.Nodes[:min(n, c.cfg.MaxNodes)]
	slices.SortFunc(plan.Nodes, less)
	plan.MasterAddr = plan.Nodes[0].Addr
	c.proposal, c.agreed = plan, map[string]int{}
	c.propose()
}

// silence tells whether a node that is here has yet to say whether it is idle. One that says nothing for long is dead, or
// leads others that do not see this node; then a plan's nodes decide by whom they promise themselves to.
func (c *Core) silence() bool {
	for id := range c.live {
		if !c.heard[id] && c.now-max(c.joined[id], c.idleSince) < c.cfg.Reply {
			return true
		}
	}
	return false
}

// onNews handles that a generation has begun without this node, or that it was proposed with a node that runs.
func (c *Core) onNews(m Message) {
	c.heard[m.From] = true
	switch {
	case c.phase == idle:
		c.gen = max(c.gen, m.Gen+1)
		c.idleSince = c.now // it waits for the end of that generation, not for nodes
	case c.phase == ready && c.proposal != nil && m.Gen >= c.proposal.Gen:
		c.withdraw()
	}
}

// before is the plan of the generation before gen, nil if nobody who waits took part in it.
func (c *Core) before(gen int) *Plan {
	for _, m := range c.waiting {
		if m.Plan != nil && m.Plan.Gen == gen-1 {
			return m.Plan
		}
	}
	return nil
}

// mayFollow tells whether those who wait may begin the generation after last: with them must be so much of it that
// nobody else can begin that generation too.
func (c *Core) mayFollow(last *Plan) bool {
	if last == nil {
		return false
	}
	here := 0
	for _, n := range last.Nodes {
		if _, ok := c.waiting[n.ID]; ok {
			here++
		}
	}
	_, first := c.waiting[last.Nodes[0].ID]
	return quorum(here, len(last.Nodes), first)
}

// stillEnding tells whether a node of the last generation will surely wait in a moment.
func (c *Core) stillEnding(last *Plan) bool {
	return c.now-c.lastNew < c.cfg.Reply && slices.ContainsFunc(last.Nodes, func(n Member) bool {
		_, waits := c.waiting[n.ID]
		_, alive := c.live[n.ID]
		return alive && !waits
	})
}

// quorum tells whether part of a generation's nodes may go on without the rest: two parts never both may.
func quorum(here, all int, first bool) bool { return 2*here > all || 2*here == all && first }

// propose asks the nodes of the proposal that have not agreed yet.
func (c *Core) propose() {
	for _, m := range c.proposal.Nodes {
		if _, ok := c.agreed[m.ID]; !ok {
			c.send(Message{Kind: Prepare, To: m.ID, Gen: c.proposal.Gen, Plan: c.proposal})
		}
	}
}

// withdraw takes the proposal back.
func (c *Core) withdraw() {
	if c.proposal == nil {
		return
	}
	for _, m := range c.proposal.Nodes {
		c.send(Message{Kind: Cancel, To: m.ID, Gen: c.proposal.Gen})
	}
	c.proposal = nil
}

func (c *Core) onPrepare(m Message) {
	again := c.phase == ready && c.leader == m.From && m.Gen == c.gen
	if c.phase == running || c.phase == closing {
		c.send(Message{Kind: News, To: m.From, Gen: c.gen})
	}
	if !again && (c.phase != idle || m.Gen < c.gen) || m.Plan == nil || m.Plan.GroupRank(c.cfg.Self.ID) < 0 {
		return
	}
	c.phase, c.leader, c.gen, c.plan = ready, m.From, m.Gen, m.Plan
	c.sendReady()
}

// sendReady answers a leader, and the leader's own node also keeps the proposal going.
func (c *Core) sendReady() {
	if c.proposal != nil {
		if c.first() != c.cfg.Self.ID {
			c.withdraw()
			return
		}
		c.propose()
	}
	c.send(Message{Kind: Ready, To: c.leader, Gen: c.gen})
}

func (c *Core) onReady(m Message) {
	if c.phase == running && m.Gen == c.gen && c.plan.GroupRank(m.From) >= 0 {
		c.send(Message{Kind: Start, To: m.From, Gen: c.gen, Plan: c.plan})
		return
	}
	if c.phase == closing && m.Gen == c.gen {
		c.decideTo(m.From)
		return
	}
	if c.proposal == nil || m.Gen != c.proposal.Gen || c.proposal.GroupRank(m.From) < 0 {
		if c.phase != running && c.phase != closing {
			c.send(Message{Kind: Cancel, To: m.From, Gen: m.Gen}) // of a proposal that this leader has forgotten
		}
		return
	}
	c.agreed[m.From] = m.Port
	if len(c.agreed) < len(c.proposal.Nodes) {
		return
	}
	plan := *c.proposal
	plan.MasterPort = c.agreed[plan.Nodes[0].ID]
	c.proposal = nil
	for _, n := range plan.Nodes {
		c.send(Message{Kind: Start, To: n.ID, Gen: plan.Gen, Plan: &plan})
	}
}

func (c *Core) onStart(m Message) {
	if c.phase != ready || m.From != c.leader || m.Gen != c.gen || m.Plan == nil {
		return
	}
	c.run(m.Plan)
	c.emit(Output{Start: m.Plan})
	for _, n := range m.Plan.Nodes { // lost between Prepare and Start
		if _, ok := c.live[n.ID]; !ok && n.ID != c.cfg.Self.ID {
			c.lost[n.ID] = c.now
		}
	}
}

// run begins a generation.
func (c *Core) run(p *Plan) {
	c.phase, c.plan, c.gen = running, p, p.Gen
	c.state, c.lost, c.promise, c.round, c.verdict = State{}, map[string]time.Duration{}, 0, nil, nil
}
