package gossip

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// How often the endpoints are asked: a node that is alone wants company at once; one that has some asks now and then,
// because after a partition nobody else would bring the parts together.
const (
	alonePause   = 200 * time.Millisecond
	togetherWait = 5 * time.Second
)

// seek asks the endpoints for the other nodes until Close.
func (n *Net) seek() {
	for {
		n.ask()
		pause := togetherWait
		if n.alone() {
			pause = alonePause
		}
		select {
		case <-n.stop:
			return
		case <-time.After(pause):
		}
	}
}

func (n *Net) alone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.peers) == 0
}

// ask joins at every endpoint that is not known as a node yet, at the same time: one may be down, and slow to show it.
func (n *Net) ask() {
	var work sync.WaitGroup
	for _, endpoint := range n.cfg.Endpoints {
		ats, err := lookUp(endpoint)
		if err != nil {
			n.notes.silent(endpoint, err)
			continue
		}
		for _, at := range ats {
			if at != n.at && !n.knows(at) {
				work.Go(func() { n.join(at.String()) })
			}
		}
	}
	work.Wait()
}

// knows tells whether a live node listens there.
func (n *Net) knows(at netip.AddrPort) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.node.Address() == at.String() {
			return true
		}
	}
	return false
}

// contact joins at one address. memberlist's error would list those of all addresses; this one's is the first in it.
func (n *Net) contact(at string) error {
	_, err := n.list.Join([]string{at})
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

func (n *Net) join(at string) {
	err := n.contact(at)
	if err == nil {
		return
	}
	if r := n.notes.refusal(at); r != nil {
		if r.final && n.alone() {
			n.events.refused(r)
		}
		return
	}
	if n.alone() {
		n.notes.silent(at, err)
	}
}
