package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// passage is a text to be trained on whole, and where it is.
type passage struct {
	text, origin string
}

// textReader makes samples of texts: each .txt file is one, and so is each record's field of JSON lines, a JSON list or
// parquet. Longer ones are cut in windows.
func textReader(tok Tokenizer, field string, window int) reader {
	return func(origin string, r record) (encode, error) {
		text, ok, err := r.text(field)
		if err == nil && !ok {
			err = missing(r, []string{fmt.Sprintf("%q", field)}, "a text has it: name the field that holds the text in dataset.columns.text")
		}
		return func() ([]Sample, error) { return encodeText(tok, passage{text, origin}, window) }, err
	}
}

// plainRecord is a file of plain text: whatever the field, it is the text.
type plainRecord string

func (r plainRecord) text(string) (string, bool, error) { return string(r), true, nil }

func (r plainRecord) texts(string) ([]string, bool, error) { return []string{string(r)}, true, nil }

func (r plainRecord) value(string) (json.RawMessage, bool, error) {
	return nil, false, errors.New("a file of plain text has no fields: use JSON lines")
}

func (r plainRecord) fields() []string { return nil }

// visitPlain visits a file of plain text as one record; read is told of the bytes that are read of it, unless it is nil.
func visitPlain(path string, read func(bytes int64), fn visit) error {
	r, err := open(path, read)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // read only: a failed close loses nothing
	text, err := readWhole(r)
	if err != nil {
		return fmt.Errorf("data: %s: %w", path, err)
	}
	if !utf8.Valid(text) {
		return fn(path, nil, errNotUTF8)
	}
	return fn(path, plainRecord(text), nil)
}

// encodeText tokenises a text with the special tokens that the tokenizer gives it, and EOS where there is one, and cuts
// it in windows of at most window tokens. Every token but the first is predicted, each in one window only: the last of
// a window is predicted there and is the first that the next one reads.
func encodeText(tok Tokenizer, p passage, window int) ([]Sample, error) {
	enc, err := tok.Encode(p.text, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.origin, err)
	}
	tokens := enc.IDs
	if eos, ok := tok.EOS(); ok && len(tokens) > 0 && tokens[len(tokens)-1] != eos {
		tokens = append(tokens, eos)
	}
	last := len(tokens) - 1
	if last < 1 {
		return nil, fmt.Errorf("%s: too short to predict a token of it: lengthen it, or set dataset.on_bad = \"skip\"", p.origin)
	}
	var out []Sample
	for lo := 0; lo < last; lo += window {
		hi := min(lo+window, last)
		s := Sample{IDs: tokens[lo:hi:hi], Labels: tokens[lo+1 : hi+1 : hi+1], Origin: p.origin}
		if last > window {
			s.Origin = fmt.Sprintf("%s: tokens %d to %d", p.origin, lo, hi)
		}
		out = append(out, s)
	}
	return out, nil
}
