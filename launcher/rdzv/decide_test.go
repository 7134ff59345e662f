package rdzv

import (
	"testing"
	"time"
)

// TestOwnSilence: a leader that has promised itself to a higher ballot does not count itself as lost when it gets no
// answer from itself, though nobody else is left.
func TestOwnSilence(t *testing.T) {
	a, b := Member{ID: "a", Addr: "10.0.0.1", Slots: 1, NodeRank: 0}, Member{ID: "b", Addr: "10.0.0.2", Slots: 1, NodeRank: 1}
	plan := &Plan{Nodes: []Member{a, b}, MasterAddr: a.Addr}
	c := New(DefaultConfig(a), 0)
	c.Joined(b)
	for _, m := range []Message{{Kind: Prepare, From: "b", To: "a", Plan: plan}, {Kind: Start, From: "b", To: "a", Plan: plan}, {Kind: Query, From: "b", To: "a", Ballot: 1, Plan: plan}} {
		c.Receive(m)
	}
	if c.phase != running || c.promise != 1 {
		t.Fatalf("phase %d, promise %d: the test shows nothing", c.phase, c.promise)
	}
	c.Lost("b")
	var verdict *Verdict
	for now := time.Duration(0); now < 10*time.Second; now += simTick {
		c.Tick(now)
		for outputs := c.Outputs(); len(outputs) > 0; outputs = c.Outputs() {
			for _, o := range outputs {
				if o.Announce != nil {
					verdict = o.Announce
				}
				if o.Send != nil && o.Send.To == "a" {
					c.Receive(*o.Send)
				}
			}
		}
	}
	if verdict == nil || verdict.Failure == nil || verdict.Failure.Cause != NodeLost || verdict.Failure.Node != "b" {
		t.Errorf("verdict %+v, want the loss of node b", verdict)
	}
}
