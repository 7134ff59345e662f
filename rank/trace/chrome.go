package trace

import (
	"bufio"
	"encoding/json"
	"io"
	"time"
)

// chromeEvent is an event of the Trace Event Format, which Perfetto (ui.perfetto.dev) and Chrome show. Times are in
// microseconds.
type chromeEvent struct {
	Phase   string            `json:"ph"` // "X": from a time for a duration; "M": a name
	Name    string            `json:"name"`
	Process int               `json:"pid"`
	Thread  int               `json:"tid"`
	Begin   float64           `json:"ts"`
	Took    float64           `json:"dur"`
	Args    map[string]string `json:"args,omitempty"`
}

// WriteChrome writes the trace as JSON of the Trace Event Format: a process for each device and host, a thread for each
// line, devices first.
func (t *Trace) WriteChrome(w io.Writer) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b) // ends every event with a new line
	enc.SetEscapeHTML(false)
	between := "[\n"
	var err error
	put := func(e chromeEvent) {
		if err == nil {
			_, err = b.WriteString(between)
		}
		if err == nil {
			err = enc.Encode(e)
		}
		between = ","
	}
	processes := map[string]int{}
	for _, device := range []bool{true, false} {
		for i, l := range t.Lines {
			if l.Device() != device {
				continue
			}
			process, ok := processes[l.Owner]
			if !ok {
				process = len(processes)
				processes[l.Owner] = process
				put(chromeEvent{Phase: "M", Name: "process_name", Process: process, Args: map[string]string{"name": l.Owner}})
			}
			put(chromeEvent{Phase: "M", Name: "thread_name", Process: process, Thread: i, Args: map[string]string{"name": l.Name}})
			for _, e := range l.Events {
				put(chromeEvent{Phase: "X", Name: e.Name, Process: process, Thread: i, Begin: micro(e.Begin), Took: micro(e.Took)})
			}
		}
	}
	if len(processes) == 0 {
		_, err = b.WriteString("[")
	}
	if err == nil {
		_, err = b.WriteString("]\n")
	}
	if err != nil {
		return err
	}
	return b.Flush()
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
