package rdzv

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// becomeIdle waits for the next plan.
func (c *Core) becomeIdle() {
	c.phase, c.leader, c.idleSince, c.lastNew = idle, "", c.now, c.now
	c.waiting = map[string]Message{}
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
	} else {
		c.form()
	}
}

func (c *Core) shortage() string {
	names := []string{c.cfg.Self.ID}
	for id := range c.live {
		names = append(names, id)
	}
	slices.Sort(names)
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
	c.waiting[m.From] = m
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
	plan := &Plan{}
	for _, id := range slices.Sorted(maps.Keys(c.waiting)) {
		m := c.waiting[id]
		plan.Nodes = append(plan.Nodes, *m.Member)
		plan.Gen = max(plan.Gen, m.Gen)
	}
	if plan.Gen > 0 && !c.succeeds(plan.Gen) {
		return
	}
	slices.SortFunc(plan.Nodes, less)
	plan.Nodes = plan.Nodes[:min(n, c.cfg.MaxNodes)]
	plan.MasterAddr = plan.Nodes[0].Addr
	c.proposal, c.agreed = plan, map[string]int{}
	c.propose()
}

// succeeds tells whether those who wait may begin generation gen: with them must be so much of the generation before
// that nobody else can begin it too.
func (c *Core) succeeds(gen int) bool {
	for _, m := range c.waiting {
		if m.Plan == nil || m.Plan.Gen != gen-1 {
			continue
		}
		here := 0
		for _, n := range m.Plan.Nodes {
			if _, ok := c.waiting[n.ID]; ok {
				here++
			}
		}
		_, first := c.waiting[m.Plan.Nodes[0].ID]
		return quorum(here, len(m.Plan.Nodes), first)
	}
	return false
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
