package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// visitLine visits the record of one line of JSON.
func visitLine(origin string, line []byte, fn visit) error {
	if !utf8.Valid(line) {
		return fn(origin, nil, errNotUTF8)
	}
	var r jsonRecord
	if err := json.Unmarshal(line, &r); err != nil || r == nil {
		return fn(origin, nil, notObject(line, err))
	}
	return fn(origin, r, nil)
}

var errNotUTF8 = errors.New("not UTF-8: convert it, for example with iconv -t utf-8")

func notObject(raw []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not a JSON object: %w at byte %d: one example per line is expected", err, syntax.Offset)
	}
	kind := kindOf(raw)
	if kind == "" {
		kind = "null"
	}
	return fmt.Errorf("not a JSON object but %s: one example per object is expected", kind)
}

// visitJSON visits the records of a .json file: SQuAD's own (v1.1 or v2: articles of paragraphs of questions), a list
// of records, such a list under "data", or JSON lines by the wrong name.
func visitJSON(name string, data []byte, fn visit) error {
	w := &walker{name: name, data: data, line: 1}
	if !utf8.Valid(data) {
		bad := 0
		for {
			r, size := utf8.DecodeRune(data[bad:])
			if r == utf8.RuneError && size <= 1 {
				break
			}
			bad += size
		}
		return fmt.Errorf("%s: %w", w.place(int64(bad)), errNotUTF8)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var first json.RawMessage
	if err := dec.Decode(&first); err != nil {
		return w.syntax(err)
	}
	if dec.More() {
		return visitReader(name, "jsonl", bytes.NewReader(data), fn)
	}
	if rest := bytes.TrimSpace(data[dec.InputOffset():]); len(rest) > 0 {
		return w.syntax(nil)
	}
	w.dec = json.NewDecoder(bytes.NewReader(data))
	if kindOf(first) == "a list" {
		return w.records("", fn)
	}
	var top jsonRecord
	if err := json.Unmarshal(first, &top); err != nil || top == nil {
		return fmt.Errorf("data: %s: %w", name, notObject(first, err))
	}
	if _, ok := top["data"]; !ok {
		if _, ok := top["context"]; ok {
			return fn(w.place(0), top, nil)
		}
		return fmt.Errorf("data: %s: has no \"data\" (the fields here: %s): SQuAD's file is {\"data\": [{\"paragraphs\": ...}]}; one example per line is JSON lines (.jsonl)", name, clipped(top.fields()))
	}
	return w.object(func(key string) error {
		if key != "data" {
			return w.skip()
		}
		return w.records("data", fn)
	})
}

// walker goes through a JSON text that is known to be valid, and knows the line it is at.
type walker struct {
	name    string
	data    []byte
	dec     *json.Decoder
	counted int64 // bytes whose lines are counted
	line    int   // of the byte at counted
}

// place is file:line of an offset; offsets must not go back.
func (w *walker) place(offset int64) string {
	offset = max(w.counted, min(offset, int64(len(w.data))))
	w.line += bytes.Count(w.data[w.counted:offset], []byte("\n"))
	w.counted = offset
	return fmt.Sprintf("%s:%d", w.name, w.line)
}

// next is the place of the value that comes next.
func (w *walker) next() string {
	at := w.dec.InputOffset()
	for at < int64(len(w.data)) && bytes.IndexByte([]byte(" \t\r\n,:"), w.data[at]) >= 0 {
		at++
	}
	return w.place(at)
}

// syntax says where the text is not JSON.
func (w *walker) syntax(err error) error {
	var all json.RawMessage
	if whole := json.Unmarshal(w.data, &all); whole != nil {
		err = whole
	}
	var s *json.SyntaxError
	if errors.As(err, &s) {
		return fmt.Errorf("%s: not JSON: %w", w.place(s.Offset), err)
	}
	return fmt.Errorf("data: %s: not JSON: %w", w.name, err)
}

func (w *walker) skip() error {
	var raw json.RawMessage
	return w.dec.Decode(&raw)
}

// enter takes the delimiter that opens a list or an object.
func (w *walker) enter(open json.Delim, what string) error {
	origin := w.next()
	t, err := w.dec.Token()
	if err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	if t != open {
		return fmt.Errorf("%s: %s was expected here: SQuAD's file is {\"data\": [{\"paragraphs\": [{\"context\", \"qas\": [...]}]}]}", origin, what)
	}
	return nil
}

func (w *walker) object(each func(key string) error) error {
	if err := w.enter('{', "an object"); err != nil {
		return err
	}
	for w.dec.More() {
		key, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("%s: a key was expected here", w.next())
		}
		if err := each(name); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walker) list(each func(i int) error) error {
	if err := w.enter('[', "a list"); err != nil {
		return err
	}
	for i := 0; w.dec.More(); i++ {
		if err := each(i); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

// records visits a list whose elements are records, or SQuAD's articles.
func (w *walker) records(path string, fn visit) error {
	return w.list(func(i int) error {
		origin := w.next()
		at := fmt.Sprintf("%s[%d]", path, i)
		if w.data[w.counted] != '{' {
			var raw json.RawMessage
			if err := w.dec.Decode(&raw); err != nil {
				return fmt.Errorf("%s: %w", origin, err)
			}
			return fn(origin+": "+at, nil, notObject(raw, nil))
		}
		return w.article(origin, at, fn)
	})
}

// found is a question on its way to become a record: what its paragraph and article add may come after it.
type found struct {
	origin string
	fields jsonRecord
	err    error
}

// article visits one element of a list: if it has paragraphs, the questions in them, else itself.
func (w *walker) article(origin, path string, fn visit) error {
	own := jsonRecord{}
	var questions []found
	nested := false
	err := w.object(func(key string) error {
		if key == "paragraphs" {
			nested = true
			return w.list(func(p int) error {
				got, err := w.paragraph(fmt.Sprintf("%s.paragraphs[%d]", path, p))
				questions = append(questions, got...)
				return err
			})
		}
		var raw json.RawMessage
		err := w.dec.Decode(&raw)
		own[key] = raw
		return err
	})
	if err != nil {
		return err
	}
	if !nested {
		return fn(origin+": "+path, own, nil)
	}
	for _, q := range questions {
		if q.err == nil && own["title"] != nil {
			q.fields["title"] = own["title"]
		}
		if err := fn(q.origin, q.fields, q.err); err != nil {
			return err
		}
	}
	return nil
}

// paragraph gathers the questions of one paragraph. A question without answers has none (a hidden test set).
func (w *walker) paragraph(path string) (questions []found, err error) {
	var context json.RawMessage
	err = w.object(func(key string) error {
		switch key {
		case "context":
			return w.dec.Decode(&context)
		case "qas":
			return w.list(func(q int) error {
				f := found{origin: fmt.Sprintf("%s: %s.qas[%d]", w.next(), path, q)}
				var raw json.RawMessage
				if err := w.dec.Decode(&raw); err != nil {
					return err
				}
				if err := json.Unmarshal(raw, &f.fields); err != nil || f.fields == nil {
					f.err = notObject(raw, err)
				}
				questions = append(questions, f)
				return nil
			})
		}
		return w.skip()
	})
	for _, q := range questions {
		if q.err != nil {
			continue
		}
		delete(q.fields, "context")
		if context != nil {
			q.fields["context"] = context
		}
		if kindOf(q.fields["answers"]) == "" {
			q.fields["answers"] = json.RawMessage("[]")
		}
	}
	return questions, err
}
