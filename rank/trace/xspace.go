package trace

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields that are read of the messages of tsl/profiler/protobuf/xplane.proto: XSpace has planes, a plane lines and the
// names of events, a line events.
const (
	spacePlanes = 1
	spaceErrors = 2

	planeName  = 2
	planeLines = 3
	planeNames = 4 // a map: key 1, value 2, of which field 2 is the name

	lineID     = 1
	lineName   = 2
	lineBegin  = 3 // ns since 1970
	lineEvents = 4

	eventName   = 1
	eventOffset = 2 // ps since lineBegin
	eventTook   = 3 // ps
)

// Parse reads an XSpace message. A byte of zero may follow it, as plugins leave one.
func Parse(message []byte) (*Trace, error) {
	var t Trace
	var failed []error
	err := fields(message, func(number protowire.Number, v value) error {
		switch number {
		case spacePlanes:
			lines, err := parsePlane(v.bytes)
			t.Lines = append(t.Lines, lines...)
			return err
		case spaceErrors:
			failed = append(failed, fmt.Errorf("the profiler says: %s", v.bytes))
		}
		return nil
	})
	if err = errors.Join(append(failed, err)...); err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	t.settle()
	return &t, nil
}

// value is a field's value: a number, or bytes.
type value struct {
	number int64
	bytes  []byte
}

// fields gives each field of a message that is a varint or has a length to f.
func fields(message []byte, f func(protowire.Number, value) error) error {
	for len(message) > 0 && !bytes.Equal(message, []byte{0}) { // no field has the number 0
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			var u uint64
			u, n = protowire.ConsumeVarint(message)
			v.number = int64(u)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(message)
		default:
			if n = protowire.ConsumeFieldValue(number, kind, message); n >= 0 {
				message = message[n:]
				continue
			}
		}
		if n < 0 {
			return fmt.Errorf("field %d: %w", number, protowire.ParseError(n))
		}
		message = message[n:]
		if err := f(number, v); err != nil {
			return err
		}
	}
	return nil
}

// parsePlane reads the lines of a plane. Names of events may come after the events.
func parsePlane(message []byte) ([]Line, error) {
	var owner string
	var lines [][]byte
	names := map[int64]string{}
	err := fields(message, func(number protowire.Number, v value) error {
		switch number {
		case planeName:
			owner = string(v.bytes)
		case planeLines:
			lines = append(lines, v.bytes)
		case planeNames:
			id, name, err := parseName(v.bytes)
			names[id] = name
			return err
		}
		return nil
	})
	out := make([]Line, 0, len(lines))
	for _, l := range lines {
		if err != nil {
			break
		}
		var line Line
		line, err = parseLine(l, names)
		line.Owner = owner
		out = append(out, line)
	}
	if err != nil {
		return nil, fmt.Errorf("plane %q: %w", owner, err)
	}
	return out, nil
}

// parseName reads an entry of a plane's names.
func parseName(message []byte) (id int64, name string, err error) {
	err = fields(message, func(number protowire.Number, v value) error {
		switch number {
		case 1:
			id = v.number
		case 2:
			return fields(v.bytes, func(number protowire.Number, v value) error {
				if number == 2 {
					name = string(v.bytes)
				}
				return nil
			})
		}
		return nil
	})
	return id, name, err
}

// parseLine reads a line; until Trace.settle its events begin at times since 1970.
func parseLine(message []byte, names map[int64]string) (Line, error) {
	var l Line
	var begin time.Duration
	err := fields(message, func(number protowire.Number, v value) error {
		switch number {
		case lineID:
			l.ID = v.number
		case lineName:
			l.Name = string(v.bytes)
		case lineBegin:
			begin = time.Duration(v.number)
		case lineEvents:
			e, err := parseEvent(v.bytes, names)
			l.Events = append(l.Events, e)
			return err
		}
		return nil
	})
	if err != nil {
		return l, fmt.Errorf("line %q: %w", l.Name, err)
	}
	for i := range l.Events {
		if l.Events[i].Begin += begin; begin < 0 || l.Events[i].End() < 0 {
			return l, fmt.Errorf("line %q: event %q begins before 1970 or after 2262", l.Name, l.Events[i].Name)
		}
	}
	return l, nil
}

// parseEvent reads an event; it begins at a time since its line does.
func parseEvent(message []byte, names map[int64]string) (e Event, err error) {
	err = fields(message, func(number protowire.Number, v value) error {
		switch number {
		case eventName:
			name, ok := names[v.number]
			if !ok {
				return fmt.Errorf("event %d has no name", v.number)
			}
			e.Name = name
		case eventOffset:
			e.Begin = time.Duration(v.number / 1000)
		case eventTook:
			e.Took = time.Duration(v.number / 1000)
		}
		return nil
	})
	if err == nil && (e.Begin < 0 || e.Took < 0) {
		err = fmt.Errorf("event %q begins at %s and takes %s", e.Name, e.Begin, e.Took)
	}
	return e, err
}
