package rdzv

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// Limits of a message: what is above them is no message of ours.
const (
	maxGen   = 1 << 20
	maxNodes = 1 << 14
	maxSlots = 1 << 12
	maxText  = 4096
	maxTail  = 1 << 16
	maxList  = 1 << 16
)

// Check returns an error if the message, which comes from another machine, is one that no core sends.
func (m *Message) Check() error {
	switch {
	case !known[m.Kind]:
		return fmt.Errorf("a message of unknown kind %q", m.Kind)
	case !name(m.From) || !name(m.To):
		return fmt.Errorf("a %s message from %q to %q", m.Kind, m.From, m.To)
	case outside(m.Gen, 0, maxGen) || outside(m.Ballot, 0, maxNodes) || outside(m.Port, 0, 65535):
		return fmt.Errorf("a %s message of generation %d, ballot %d, port %d", m.Kind, m.Gen, m.Ballot, m.Port)
	case m.Member != nil && !m.Member.sound():
		return fmt.Errorf("a %s message with member %+v", m.Kind, *m.Member)
	case m.Plan != nil && !m.Plan.sound():
		return fmt.Errorf("a %s message with plan %+v", m.Kind, *m.Plan)
	case m.Node != nil && !m.Node.sound():
		return fmt.Errorf("a %s message with state %+v", m.Kind, *m.Node)
	case m.Verdict != nil && !m.Verdict.sound():
		return fmt.Errorf("a %s message with verdict %+v", m.Kind, *m.Verdict)
	}
	return nil
}

var known = map[Kind]bool{Idle: true, Prepare: true, Ready: true, Cancel: true, Start: true, Query: true, Report: true, Decide: true, News: true, Stop: true}

func outside(n, least, most int) bool { return n < least || n > most }

// name tells whether a text can name a node.
func name(s string) bool {
	return s != "" && line(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// line tells whether a text is short enough for a line of output, which Verdict.Line makes one.
func line(s string) bool { return len(s) <= maxText }

func (m *Member) sound() bool {
	_, err := netip.ParseAddr(m.Addr)
	return name(m.ID) && err == nil && !outside(m.Slots, 1, maxSlots) && m.NodeRank >= -1 && !outside(m.Files, 0, 65535)
}

func (p *Plan) sound() bool {
	if outside(p.Gen, 0, maxGen) || outside(len(p.Nodes), 1, maxNodes) || outside(p.MasterPort, 0, 65535) || !line(p.MasterAddr) {
		return false
	}
	for i := range p.Nodes {
		if !p.Nodes[i].sound() {
			return false
		}
	}
	return true
}

func (s *State) sound() bool {
	if len(s.Failures) > maxList || len(s.Progress) > maxList || s.Verdict != nil && !s.Verdict.sound() {
		return false
	}
	for i := range s.Failures {
		if !s.Failures[i].sound() {
			return false
		}
	}
	for _, p := range s.Progress {
		if !line(p.Op) {
			return false
		}
	}
	return true
}

func (v *Verdict) sound() bool {
	return !outside(v.Gen, 0, maxGen) && len(v.NotArrived) <= maxList && !outside(v.Alike, 0, maxList) && !outside(v.World, 0, maxList) && line(v.Why) &&
		(v.OK || v.Failure != nil) && (v.Failure == nil || v.Failure.sound())
}

func (f *Failure) sound() bool {
	return name(f.Node) && f.Rank >= -1 && f.Age >= 0 && len(f.Tail) <= maxTail && len(f.Error) <= maxTail &&
		line(string(f.Cause)) && line(f.Signal) && line(f.Op) && line(f.Detail)
}
