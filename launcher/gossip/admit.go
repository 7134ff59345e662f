package gossip

import (
	"fmt"

	"github.com/hashicorp/memberlist"

	"gorun/launcher/rdzv"
)

// refusal is why a node may not take part beside this one.
type refusal struct {
	why   string
	final bool // it will be the same the next time
}

func (r *refusal) Error() string { return r.why }

// admit returns nil if a node may take part beside this one and the live others that it knows.
func (n *Net) admit(other *memberlist.Node) *refusal {
	info, member, err := parseNode(other)
	own := n.cfg.Self
	switch {
	case err != nil:
		return &refusal{err.Error(), true}
	case info.Version != own.Version:
		return &refusal{fmt.Sprintf("it runs gorun %s, this node %s: install the same version on all nodes", info.Version, own.Version), true}
	case info.Nodes != own.Nodes:
		return &refusal{fmt.Sprintf("it was started with --nnodes %s, this node with %s: use the same line on all nodes", info.Nodes, own.Nodes), true}
	}
	if twin := n.sameRank(member); twin != "" {
		return &refusal{fmt.Sprintf("--node-rank %d is taken by node %s: give each node its own, or leave the flag away", info.NodeRank, twin), false}
	}
	return nil
}

// sameRank returns the live node that asks for the same group rank, "" if none does.
func (n *Net) sameRank(m rdzv.Member) string {
	if m.NodeRank < 0 {
		return ""
	}
	if n.self.NodeRank == m.NodeRank {
		return n.self.ID
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, p := range n.peers {
		if id != m.ID && p.rank == m.NodeRank {
			return id
		}
	}
	return ""
}

// delegate is what memberlist asks and tells. It calls with its lock held: nothing here may call it back or wait.
type delegate struct {
	net  *Net
	meta []byte
}

// NodeMeta is what this node tells of itself.
func (d *delegate) NodeMeta(int) []byte { return d.meta }

// NotifyMsg takes another agent's message, which only a holder of the key can have sent.
func (d *delegate) NotifyMsg(b []byte) {
	m, err := decode(b)
	if err != nil {
		d.net.cfg.Log.Debug().Err(err).Msg("another node sent what is no message")
		return
	}
	if m.To == d.net.self.ID && m.From != m.To { // else it is for an agent that was at this address before
		d.net.events.received(m)
	}
}

// GetBroadcasts has none: all messages have one receiver.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to add to memberlist's.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState gets what LocalState of others adds: nothing.
func (d *delegate) MergeRemoteState([]byte, bool) {}

// NotifyMerge is asked on both sides when a node joins, so both say what is wrong.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	for _, other := range nodes {
		if other.Name == d.net.self.ID || other.State != memberlist.StateAlive && other.State != memberlist.StateSuspect {
			continue
		}
		if r := d.net.admit(other); r != nil {
			d.net.notes.refuse(other.Address(), other.Name, r)
			return r
		}
	}
	return nil
}

// NotifyAlive is asked about nodes that become known by way of others.
func (d *delegate) NotifyAlive(other *memberlist.Node) error {
	if other.Name == d.net.self.ID {
		return nil
	}
	if r := d.net.admit(other); r != nil {
		d.net.notes.refuse(other.Address(), other.Name, r)
		return r
	}
	return nil
}

// NotifyJoin tells that a node is alive.
func (d *delegate) NotifyJoin(other *memberlist.Node) {
	if other.Name == d.net.self.ID {
		return
	}
	_, member, err := parseNode(other)
	if err != nil {
		return // NotifyAlive has refused it
	}
	d.net.addPeer(other, member)
	d.net.cfg.Log.Debug().Str("node", member.ID).Str("addr", other.Address()).Msg("joined")
	d.net.events.joined(member)
}

// NotifyLeave tells that a node has left or died.
func (d *delegate) NotifyLeave(other *memberlist.Node) {
	if other.Name == d.net.self.ID {
		return
	}
	d.net.dropPeer(other.Name)
	d.net.cfg.Log.Debug().Str("node", other.Name).Msg("gone")
	d.net.events.lost(other.Name)
}

// NotifyUpdate would tell of a node that changes what it says of itself: none does.
func (d *delegate) NotifyUpdate(*memberlist.Node) {}
