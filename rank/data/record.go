package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// record is one example as its file has it, whatever the format: named fields.
type record interface {
	// text is a field's text; a number is taken as it is written. ok is false where the field is absent or null.
	text(field string) (s string, ok bool, err error)
	// texts are a field's texts in any of the shapes that answers come in: SQuAD's own list of {text, answer_start},
	// the Hub's {text: [...]}, a list of texts, one text.
	texts(field string) (all []string, ok bool, err error)
	// value is a field's value as JSON, whatever it is.
	value(field string) (raw json.RawMessage, ok bool, err error)
	// fields are the names of the fields, in order.
	fields() []string
}

// visit is called for each record of a file, in order, with where it is (file:line); err instead of the record where
// it cannot be read. An error that it returns ends the visit.
type visit func(origin string, r record, err error) error

// errEnough ends a visit: no more records are wanted.
var errEnough = errors.New("enough")

// collector makes values of records, and keeps the faults of those that are none.
type collector[T any] struct {
	limit  int // records to take, good or bad; 0 = all
	make   func(origin string, r record) (T, error)
	taken  int
	out    []T
	faults []error
}

func (c *collector[T]) visit(origin string, r record, err error) error {
	var x T
	if err == nil {
		x, err = c.make(origin, r)
	}
	if err != nil {
		c.faults = append(c.faults, fmt.Errorf("%s: %w", origin, err))
	} else {
		c.out = append(c.out, x)
	}
	if c.taken++; c.taken == c.limit {
		return errEnough
	}
	return nil
}

// visitFiles visits the records of a file, or of a folder's files of a split, one after the other, until fn has enough.
func visitFiles(path, split string, fn visit) error {
	files, err := resolve(path, split)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := visitFile(f, nil, fn); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// shownFaults is how many faults are told at once.
const shownFaults = 20

// report joins faults, at most shownFaults kinds of them.
func report(faults []error) error {
	faults = alike(faults)
	if n := len(faults) - shownFaults; n > 0 {
		faults = append(faults[:shownFaults:shownFaults], fmt.Errorf("and %d more", n))
	}
	return errors.Join(faults...)
}

// visitFile visits the records of a file; read is told of the bytes that are read of it, unless it is nil.
func visitFile(path string, read func(bytes int64), fn visit) error {
	kind := format(path)
	if kind == "parquet" {
		return visitParquet(path, read, fn)
	}
	r, err := open(path, read)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // read only: a failed close loses nothing
	return visitReader(path, kind, r, fn)
}

// visitReader visits the records of one format, "json" or "jsonl".
func visitReader(name, kind string, r io.Reader, fn visit) error {
	var err error
	switch kind {
	case "jsonl":
		err = lines(r, func(n int, line []byte) error { return visitLine(fmt.Sprintf("%s:%d", name, n), line, fn) })
	case "json":
		var data []byte
		if data, err = readWhole(r); err == nil {
			return visitJSON(name, data, fn)
		}
	default:
		return fmt.Errorf("data: %s: not a format that is read here: use .json, .jsonl or .parquet (.gz and .zst of the first two)", name)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("data: %s: %w", name, err)
	}
	return err
}

// jsonRecord is a JSON object.
type jsonRecord map[string]json.RawMessage

func (r jsonRecord) fields() []string { return slices.Sorted(maps.Keys(r)) }

func (r jsonRecord) text(field string) (string, bool, error) {
	raw := r[field]
	switch kind := kindOf(raw); kind {
	case "":
		return "", false, nil
	case "a number":
		return string(raw), true, nil
	case "text":
		var s string
		err := json.Unmarshal(raw, &s)
		return s, true, err
	default:
		return "", false, fmt.Errorf("%q is %s, not text", field, kind)
	}
}

func (r jsonRecord) value(field string) (json.RawMessage, bool, error) {
	raw := r[field]
	return raw, kindOf(raw) != "", nil
}

func (r jsonRecord) texts(field string) ([]string, bool, error) {
	raw := r[field]
	if kindOf(raw) == "" {
		return nil, false, nil
	}
	out, err := textsOf(raw, 3)
	if err != nil {
		return nil, false, fmt.Errorf("%q: %w: write a list of {text, answer_start}, {text: [...]}, a list of texts or one text", field, err)
	}
	return out, true, nil
}

// textsOf gathers the texts of a value of at most depth levels.
func textsOf(raw json.RawMessage, depth int) ([]string, error) {
	kind := kindOf(raw)
	switch {
	case kind == "text":
		var s string
		err := json.Unmarshal(raw, &s)
		return []string{s}, err
	case kind == "a list" && depth > 0:
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		out := []string{}
		for i, x := range list {
			got, err := textsOf(x, depth-1)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out = append(out, got...)
		}
		return out, nil
	case kind == "an object" && depth > 0:
		var o jsonRecord
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, err
		}
		if kindOf(o["text"]) == "" {
			return nil, errors.New("has no text")
		}
		return textsOf(o["text"], depth-1)
	case kind == "":
		return nil, errors.New("is null")
	}
	return nil, fmt.Errorf("is %s", kind)
}

// kindOf names what a JSON value is, "" for null and for none.
func kindOf(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		return "text"
	case '[':
		return "a list"
	case '{':
		return "an object"
	case 't', 'f':
		return "true or false"
	case 'n':
		return ""
	}
	return "a number"
}

// missing says which fields a record lacks, and which it has.
func missing(r record, absent []string, wanted string) error {
	return fmt.Errorf("no %s: %s (the fields here: %s)", strings.Join(absent, ", no "), wanted, clipped(r.fields()))
}

func clipped(names []string) string {
	if len(names) > 8 {
		names = append(names[:8:8], "...")
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
