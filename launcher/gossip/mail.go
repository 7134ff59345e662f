package gossip

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"

	"gorun/launcher/rdzv"
)

// Messages go as packets: the core repeats what is lost within a tick, long before TCP would. One that does not fit an
// Ethernet frame, as a plan of many nodes or the end of a rank's stderr, takes a stream too, for networks that drop
// fragments; the core does not mind to get it twice.
const (
	maxFrame   = 1200    // bytes, with room for encryption and label
	maxPacket  = 8 << 10 // bytes: a few fragments
	maxMessage = 1 << 20 // bytes
)

func encode(m rdzv.Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxMessage {
		err = fmt.Errorf("%d bytes are more than the %d that a message may have", len(b), maxMessage)
	}
	if err != nil {
		return nil, fmt.Errorf("a %s message for node %s: %w", m.Kind, m.To, err)
	}
	return b, nil
}

// decode reads a message of another node, and refuses what the core could not work with.
func decode(b []byte) (rdzv.Message, error) {
	var m rdzv.Message
	if len(b) > maxMessage {
		return m, fmt.Errorf("a message of %d bytes: want at most %d", len(b), maxMessage)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, err
	}
	return m, m.Check()
}

// peer is a live other node and the large messages that wait for its stream.
type peer struct {
	node *memberlist.Node
	rank int // its --node-rank
	wake chan struct{}

	mu      sync.Mutex
	waiting map[rdzv.Kind][]byte // the newest of each kind; protected by mu
	closed  bool                 // protected by mu
}

func (n *Net) addPeer(node *memberlist.Node, m rdzv.Member) {
	n.dropPeer(m.ID)
	copied := *node // memberlist goes on writing to its own
	copied.Addr = slices.Clone(node.Addr)
	p := &peer{node: &copied, rank: m.NodeRank, wake: make(chan struct{}, 1), waiting: map[rdzv.Kind][]byte{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.peers[m.ID] = p
	n.work.Go(func() { n.carry(p) })
}

func (n *Net) dropPeer(id string) {
	n.mu.Lock()
	p := n.peers[id]
	delete(n.peers, id)
	n.mu.Unlock()
	if p != nil {
		p.close()
	}
}

// Send takes a message towards its receiver; it may get lost. It does not wait.
func (n *Net) Send(m rdzv.Message) {
	n.mu.Lock()
	p := n.peers[m.To]
	n.mu.Unlock()
	if p == nil {
		return // gone: the core has heard of it, or will in a moment
	}
	b, err := encode(m)
	if err != nil {
		n.cfg.Log.Error().Err(err).Msg("a message to another node")
		return
	}
	if len(b) > maxFrame {
		p.put(m.Kind, b)
	}
	if len(b) <= maxPacket {
		if err := n.list.SendBestEffort(p.node, b); err != nil {
			n.cfg.Log.Debug().Err(err).Str("node", m.To).Msg("send")
		}
	}
}

// put leaves a message for the peer's stream, in place of an older one of its kind.
func (p *peer) put(kind rdzv.Kind, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.waiting[kind] = b
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take returns what waits, in no order: the core needs none.
func (p *peer) take() map[rdzv.Kind][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.waiting
	p.waiting = map[rdzv.Kind][]byte{}
	return out
}

func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.wake)
	}
}

// carry sends what waits for one peer until it is closed; a dead one holds up no other.
func (n *Net) carry(p *peer) {
	for range p.wake {
		for _, b := range p.take() {
			if err := n.list.SendReliable(p.node, b); err != nil {
				n.cfg.Log.Debug().Err(err).Str("node", p.node.Name).Msg("send")
			}
		}
	}
}

// closePeers lets every carrier send what waits and end; none begins after it.
func (n *Net) closePeers() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, p := range n.peers {
		p.close()
	}
}
