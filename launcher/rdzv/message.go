package rdzv

// Kind says what a message is for.
type Kind string

// The kinds. Every one may be lost, doubled or overtaken: senders repeat them each tick until they have had their effect.
const (
	Idle    Kind = "idle"    // member to leader: I have no ranks and would run generation Gen or a later one
	Prepare Kind = "prepare" // leader to member: will you run Plan?
	Ready   Kind = "ready"   // member to leader: I will, and Port is free here
	Cancel  Kind = "cancel"  // leader to member: Gen will not start like this
	Start   Kind = "start"   // leader to member: run Plan
	Query   Kind = "query"   // leader to member: how is Plan doing? From now on listen to nobody with a lower ballot
	Report  Kind = "report"  // member to leader: so is Gen doing here
	Decide  Kind = "decide"  // anybody to anybody in the plan: this is how Gen ended
	News    Kind = "news"    // to an idle member: generation Gen has begun already
	Stop    Kind = "stop"    // anybody to all: checkpoint and end
)

// Message goes from agent to agent. Plan is set in Prepare, Start, Query and Decide; in
// Idle it is the plan of the generation that ended, if the sender took part.
type Message struct {
	Kind    Kind     `json:"kind"`
	From    string   `json:"from"`
	To      string   `json:"to"`
	Gen     int      `json:"gen"`
	Ballot  int      `json:"ballot,omitempty"` // group rank of the leader that Query and Decide come from
	Member  *Member  `json:"member,omitempty"` // Idle: the sender
	Plan    *Plan    `json:"plan,omitempty"`
	Port    int      `json:"port,omitempty"` // Ready: filled in by the driver
	Node    *State   `json:"node,omitempty"` // Report
	Verdict *Verdict `json:"verdict,omitempty"`
}

// State is how a generation is doing on a node.
type State struct {
	Failures []Failure  `json:"failures,omitempty"`
	Done     bool       `json:"done,omitempty"`     // all ranks of the node have ended well
	Stopped  bool       `json:"stopped,omitempty"`  // somebody asked the run to end early
	Progress []Progress `json:"progress,omitempty"` // of the node's ranks; filled in by the driver
	Verdict  *Verdict   `json:"verdict,omitempty"`  // the node knows how the generation ended
}

// Progress is what a rank last said of itself.
type Progress struct {
	Rank  int    `json:"rank"`
	PID   int    `json:"pid"`
	Step  int    `json:"step"`
	Op    string `json:"op,omitempty"`  // its last collective
	Seq   int    `json:"seq,omitempty"` // and that one's number
	Begun bool   `json:"begun"`         // it is inside of it
	Alive bool   `json:"alive"`
}
