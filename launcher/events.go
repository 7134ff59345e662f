package launcher

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"gorun/launcher/rdzv"
)

// event is a line that a rank writes to its file descriptor 3. Fields that are not known here are ignored.
type event struct {
	Event string `json:"event"` // ready, step, collective, saved, done
	Step  int    `json:"step"`
	Op    string `json:"op"`
	Seq   int    `json:"seq"`
	State string `json:"state"` // of a collective: begin, end
}

// maxEvent is the longest line taken from a rank; a longer one is dropped.
const maxEvent = 4096

// maxOp is how much of a collective's name is kept: it goes into the verdict's line.
const maxOp = 128

// tracker keeps what a rank last said. The reader of its events and the agent share it.
type tracker struct {
	mu   sync.Mutex
	last rdzv.Progress // protected by mu
	at   time.Time     // when the collective began; protected by mu
}

func (t *tracker) began(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last.PID, t.last.Alive = pid, true
}

func (t *tracker) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last.Alive = false
}

// follow reads events until r ends, so that the rank never waits for a reader.
func (t *tracker) follow(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxEvent)
	for {
		line, err := lines.ReadSlice('\n')
		if err == nil {
			t.take(line)
			continue
		}
		for errors.Is(err, bufio.ErrBufferFull) { // too long: to its end
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

func (t *tracker) take(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		return // a rank that writes nonsense is not worse off than one that writes nothing
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Event {
	case "step":
		t.last.Step = e.Step
	case "collective":
		t.last.Op, t.last.Seq, t.last.Begun = printable(e.Op), e.Seq, e.State == "begin"
		t.at = time.Now()
	}
}

// printable keeps what may go into a line of text.
func printable(s string) string {
	out := make([]rune, 0, min(len(s), maxOp))
	for _, r := range s {
		if len(out) == maxOp {
			break
		}
		if r >= ' ' && r != 0x7f {
			out = append(out, r)
		}
	}
	return string(out)
}

// progress returns what is known, and for how long the rank has been inside its collective.
func (t *tracker) progress() (rdzv.Progress, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.Begun {
		return t.last, 0
	}
	return t.last, time.Since(t.at)
}
