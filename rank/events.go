package rank

import (
	"encoding/json"
	"io"
	"strings"
	"sync"

	"gorun/collective"
)

// events tells the launcher how far this rank is. A nil *events tells nobody.
type events struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// event is one line.
type event struct {
	Event string `json:"event"` // "ready", "step", "collective", "saved", "done", "log", "failed"
	Step  int    `json:"step,omitempty"`
	Op    string `json:"op,omitempty"`   // "all-gather block 7"
	Comm  string `json:"comm,omitempty"` // "dp_shard x cp"
	Seq   uint64 `json:"seq,omitempty"`
	State string `json:"state,omitempty"` // "begin", "end"

	Text string `json:"text,omitempty"` // of "log": a line for the rank's log alone; of "failed": why the rank ends

	PauseS float64 `json:"pause_s,omitempty"` // of "saved": for how long training waited
	TookS  float64 `json:"took_s,omitempty"`  // of "saved": until the checkpoint was whole
}

// events are told at Events, if the launcher listens.
func (p Place) events() *events {
	if p.Events == nil {
		return nil
	}
	enc := json.NewEncoder(p.Events)
	enc.SetEscapeHTML(false)
	return &events{enc: enc}
}

func (e *events) tell(v event) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.enc.Encode(v) // a launcher that is gone hears nothing
}

func (e *events) collective(c collective.Event) {
	state := "begin"
	if c.End {
		state = "end"
	}
	e.tell(event{Event: "collective", Op: c.Op + " " + c.What, Comm: c.Comm, Seq: c.Seq, State: state})
}

// maxText is how much of a text is told in one event: the launcher drops lines of more than 64 KiB.
const maxText = 8 << 10

// Log writes lines for this rank's log alone, which the launcher keeps: they are shown to nobody. Without a launcher it is
// otherwise.
func (p Place) Log(otherwise io.Writer) io.Writer {
	if p.Events == nil {
		return otherwise
	}
	return toLog{p.events()}
}

type toLog struct{ events *events }

func (l toLog) Write(b []byte) (int, error) {
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		l.events.tell(event{Event: "log", Text: line[:min(len(line), maxText)]})
	}
	return len(b), nil
}

// Failed tells the launcher why this rank ends, which then is said once for all ranks that say the same. It returns
// false if there is no launcher.
func (p Place) Failed(err error) bool {
	if p.Events == nil {
		return false
	}
	text := err.Error()
	p.events().tell(event{Event: "failed", Text: text[:min(len(text), maxText)]})
	return true
}
