package metrics

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// TensorboardDir is the folder of TensorBoard's event files in a run's folder.
const TensorboardDir = "tensorboard"

// eventPrefix begins the names of event files; TensorBoard reads them in the order of the seconds behind it.
const eventPrefix = "events.out.tfevents."

// Fields of TensorBoard's Event, Summary, Summary.Value and SessionLog (tensorboard/compat/proto).
const (
	eventWallTime    = 1
	eventStep        = 2
	eventFileVersion = 3
	eventSummary     = 5
	eventSessionLog  = 7

	summaryValue = 1
	valueTag     = 1
	valueSimple  = 2

	sessionStatus      = 1
	sessionStatusStart = 1
)

// tensorboard writes event files, each event as it comes. A run that resumes begins a file of its own, since a
// TensorBoard that is watching keeps its place in the older ones. Their later steps are cut for those who read the
// files afresh, and a session's start tells the watching one to forget them too.
type tensorboard struct {
	log *logFile
	now func() time.Time
}

// openTensorboard begins an event file in dir. A new run (resume 0) sets an older folder aside.
func openTensorboard(dir string, resume int, now func() time.Time) (*tensorboard, error) {
	if resume == 0 {
		if err := setAside(dir); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	older, err := cutEvents(dir, resume)
	if err != nil {
		return nil, err
	}
	path, err := eventPath(dir, older, now())
	if err != nil {
		return nil, err
	}
	t := &tensorboard{now: now}
	if t.log, err = openLog(path, func(io.Reader) (int64, error) { return 0, nil }); err != nil {
		return nil, err
	}
	err = t.event(0, func(m *message) { m.str(eventFileVersion, "brain.Event:2") })
	if err == nil && resume > 0 {
		err = t.event(resume+1, func(m *message) {
			var start message
			start.varint(sessionStatus, sessionStatusStart)
			m.bytes(eventSessionLog, start)
		})
	}
	if err != nil {
		return nil, errors.Join(err, t.log.close())
	}
	return t, nil
}

// cutEvents cuts the events of later steps from the files in dir, and returns the files' names in their order.
func cutEvents(dir string, resume int) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for older events: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), eventPrefix) {
			continue
		}
		l, err := openLog(filepath.Join(dir, e.Name()), func(r io.Reader) (int64, error) { return endOfEvents(r, resume) })
		if err != nil {
			return nil, err
		}
		if err := l.close(); err != nil {
			return nil, err
		}
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// eventPath names a new file behind all older ones, even if the clock went back or is still in the same second.
func eventPath(dir string, older []string, now time.Time) (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name the event file: %w", err)
	}
	seconds := now.Unix()
	if len(older) > 0 {
		var last int64
		if _, err := fmt.Sscanf(strings.TrimPrefix(older[len(older)-1], eventPrefix), "%d.", &last); err != nil {
			return "", fmt.Errorf("%s is not named as an event file: set it aside", filepath.Join(dir, older[len(older)-1]))
		}
		seconds = max(seconds, last+1)
	}
	return filepath.Join(dir, fmt.Sprintf("%s%010d.%s.%d.0", eventPrefix, seconds, host, os.Getpid())), nil
}

// endOfEvents returns the offset behind the last event up to step resume; a torn last event is not counted.
func endOfEvents(r io.Reader, resume int) (int64, error) {
	var end int64
	late := false
	err := scanTFRecords(r, func(data []byte, behind int64) error {
		var step int
		if err := eachField(data, func(field fieldNumber, v uint64, _ []byte) {
			if field == eventStep {
				step = int(v)
			}
		}); err != nil {
			return fmt.Errorf("the event before byte %d: %w", behind, err)
		}
		switch {
		case step > resume:
			late = true
		case late:
			return fmt.Errorf("step %d before byte %d comes after later ones", step, behind)
		default:
			end = behind
		}
		return nil
	})
	return end, err
}

// event appends one event.
func (t *tensorboard) event(step int, what func(*message)) error {
	var m message
	m.double(eventWallTime, float64(t.now().UnixMicro())/1e6)
	m.varint(eventStep, uint64(step))
	what(&m)
	return t.log.append(tfRecord(m))
}

// scalars appends values of a step, all in one event.
func (t *tensorboard) scalars(step int, list []scalar) error {
	return t.event(step, func(m *message) {
		var summary message
		for _, s := range list {
			var value message
			value.str(valueTag, s.tag)
			value.float(valueSimple, float32(s.value))
			summary.bytes(summaryValue, value)
		}
		m.bytes(eventSummary, summary)
	})
}

func (t *tensorboard) step(r Record) error { return t.scalars(r.Step, r.scalars()) }

func (t *tensorboard) validated(v ValidationRecord) error {
	return t.scalars(v.Step, []scalar{v.scalar()})
}

func (t *tensorboard) close(error) error { return t.log.close() }
