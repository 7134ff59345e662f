package rdzv

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Member is a node as the others know it.
type Member struct {
	ID       string `json:"id"`        // unique in the job, also over restarts of an agent
	Addr     string `json:"addr"`      // IP address that ranks of other nodes can reach
	Slots    int    `json:"slots"`     // ranks that it can run
	NodeRank int    `json:"node_rank"` // group rank that its user asked for; -1 = any
	Files    int    `json:"files"`     // port where it gives files to other nodes; 0 = nowhere
}

// less orders nodes: the first one leads, and group ranks follow this order.
func less(a, b Member) int {
	wanted := func(m Member) int {
		if m.NodeRank < 0 {
			return int(^uint(0) >> 1)
		}
		return m.NodeRank
	}
	return cmp.Or(cmp.Compare(wanted(a), wanted(b)), cmp.Compare(a.ID, b.ID))
}

// Plan says who takes part in a generation. A node's group rank is its index; ranks count up over the nodes' slots.
type Plan struct {
	Gen        int      `json:"gen"`
	Nodes      []Member `json:"nodes"`
	MasterAddr string   `json:"master_addr"` // of the first node
	MasterPort int      `json:"master_port"` // free on the first node; set when ranks start
}

// World is the number of ranks.
func (p *Plan) World() (n int) {
	for _, m := range p.Nodes {
		n += m.Slots
	}
	return n
}

// GroupRank is a node's index, or -1.
func (p *Plan) GroupRank(id string) int {
	return slices.IndexFunc(p.Nodes, func(m Member) bool { return m.ID == id })
}

// FirstRank is the rank of local rank 0 of the node with this group rank.
func (p *Plan) FirstRank(group int) (n int) {
	for _, m := range p.Nodes[:group] {
		n += m.Slots
	}
	return n
}

// describe says where a node of the plan is and what it runs.
func (p *Plan) describe(id string) string {
	group := p.GroupRank(id)
	m, first := p.Nodes[group], p.FirstRank(group)
	if m.Slots == 1 {
		return fmt.Sprintf("rank %d, at %s", first, m.Addr)
	}
	return fmt.Sprintf("ranks %d to %d, at %s", first, first+m.Slots-1, m.Addr)
}

// newcomer is 1 for a node that the plan of the last generation does not have: it takes no place of one that it has.
func (p *Plan) newcomer(m Member) int {
	if p == nil || p.GroupRank(m.ID) >= 0 {
		return 0
	}
	return 1
}

// Config is what a core is told once.
type Config struct {
	Self               Member
	MinNodes, MaxNodes int
	MaxRestarts        int

	LastCall    time.Duration // with MinNodes there but not MaxNodes, how long to wait for one more
	JoinTimeout time.Duration // how long to wait for MinNodes
	Settle      time.Duration // between the first news of a failure and the verdict, so that the cause outruns its effects
	Reply       time.Duration // how long to wait for a live node's answer before it counts as lost
}

// DefaultConfig has torchrun's timeouts where it has them.
func DefaultConfig(self Member) Config {
	return Config{
		Self: self, MinNodes: 1, MaxNodes: 1,
		LastCall: 30 * time.Second, JoinTimeout: 10 * time.Minute, Settle: 300 * time.Millisecond, Reply: 3 * time.Second,
	}
}
