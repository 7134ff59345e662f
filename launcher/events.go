package launcher

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"gorun/launcher/rdzv"
)

// event is a line that a rank writes to its file descriptor 3. Fields that are not known here are ignored.
type event struct {
	Event string `json:"event"` // ready, step, collective, saved, done, log, failed
	Step  int    `json:"step"`
	Op    string `json:"op"`
	Seq   int    `json:"seq"`
	State string `json:"state"` // of a collective: begin, end
	Text  string `json:"text"`  // of log: a line for the rank's log alone; of failed: why the rank ends
}

// maxEvent is the longest line taken from a rank; a longer one is dropped.
const maxEvent = 64 << 10

// What is kept of what goes into a verdict: characters of a collective's name, bytes of a rank's error.
const (
	maxOp    = 128
	maxError = 2000
)

// tracker keeps what a rank last said. The reader of its events and the agent share it.
type tracker struct {
	log io.Writer // takes what is for the rank's log alone

	mu   sync.Mutex
	last rdzv.Progress // protected by mu
	at   time.Time     // when the collective began; protected by mu
	err  string        // why the rank ends; protected by mu
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
		t.last.Op, t.last.Seq, t.last.Begun = printable(e.Op, maxOp, false), e.Seq, e.State == "begin"
		t.at = time.Now()
	case "log":
		_, _ = fmt.Fprintln(t.log, e.Text) // a log that is full has said so
	case "failed":
		t.err = cut(printable(e.Text, maxEvent, true))
	}
}

// cut keeps the first lines of a long error.
func cut(text string) string {
	if len(text) <= maxError {
		return text
	}
	text = text[:maxError]
	if end := strings.LastIndexByte(text, '\n'); end > 0 {
		text = text[:end]
	}
	return strings.ToValidUTF8(text, "") + "\n... the rest is in its log"
}

// printable keeps up to n characters of what may go into a line of text, or into several.
func printable(s string, n int, lines bool) string {
	out := make([]rune, 0, min(len(s), n))
	for _, r := range s {
		if len(out) == n {
			break
		}
		if r >= ' ' && r != 0x7f || r == '\n' && lines {
			out = append(out, r)
		}
	}
	return string(out)
}

// said is why the rank ended, in its own words, "" if it has not said so.
func (t *tracker) said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
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
