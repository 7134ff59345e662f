package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// Limits of what is read: a line longer or a file larger, once unpacked, is refused.
const (
	maxLine      = 64 << 20
	maxJSON      = 4 << 30
	shownFaults  = 20
	zstdMaxFrame = 1 << 30
)

// resolve lists the files of path: itself, or, of a folder, those of a split (train.jsonl, train-00000-of-00002.parquet,
// data/train-*.parquet, ...) in order.
func resolve(path, split string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var out, seen []string
	for _, dir := range []string{path, filepath.Join(path, "data"), filepath.Join(path, "plain_text")} {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		for _, e := range entries {
			name := e.Name()
			if e.IsDir() || format(name) == "" {
				continue
			}
			seen = append(seen, name)
			rest, ok := strings.CutPrefix(name, split)
			if ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "_")) {
				out = append(out, filepath.Join(dir, name))
			}
		}
		if out != nil {
			slices.Sort(out)
			return out, nil
		}
	}
	return nil, fmt.Errorf("data: folder %s has no file of split %q (it has %s): name one of its splits in dataset.split, or the file itself", path, split, listed(seen))
}

func listed(names []string) string {
	if len(names) == 0 {
		return "no .json, .jsonl or .parquet file"
	}
	slices.Sort(names)
	if len(names) > 8 {
		names = append(names[:8:8], "...")
	}
	return strings.Join(names, ", ")
}

// format tells the format of a file by its name: json, jsonl, parquet, text or "".
func format(name string) string {
	name = strings.ToLower(name)
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	switch filepath.Ext(name) {
	case ".json":
		return "json"
	case ".jsonl", ".ndjson":
		return "jsonl"
	case ".parquet":
		return "parquet"
	case ".txt":
		return "text"
	}
	return ""
}

// open opens a file, unpacking .gz and .zst.
func open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("data: %s: %w", path, err), f.Close())
		}
		return &unpacked{z, func() error { return errors.Join(z.Close(), f.Close()) }}, nil
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(zstdMaxFrame))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("data: %s: %w", path, err), f.Close())
		}
		return &unpacked{z, func() error { z.Close(); return f.Close() }}, nil
	}
	return f, nil
}

type unpacked struct {
	io.Reader
	close func() error
}

func (u *unpacked) Close() error { return u.close() }

// lines calls each for every line that is not blank, with its number from 1.
func lines(r io.Reader, each func(n int, line []byte) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 1<<16), maxLine)
	n := 0
	for s.Scan() {
		n++
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			if err := each(n, line); err != nil {
				return err
			}
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d MiB", n+1, maxLine>>20)
	}
	return s.Err()
}

// ReadSQuAD reads SQuAD examples: SQuAD's own nested JSON (v1.1 or v2), a JSON list, JSON lines or parquet, packed or
// not; path is a file or a folder with a split. limit 0 takes all. Faults are collected, the first of them reported.
func ReadSQuAD(path, split string, limit int) ([]SQuADExample, error) {
	files, err := resolve(path, split)
	if err != nil {
		return nil, err
	}
	var out []SQuADExample
	var faults []error
	for _, file := range files {
		got, bad := readSQuADFile(file)
		out, faults = append(out, got...), append(faults, bad...)
		if limit > 0 && len(out) >= limit {
			out = out[:limit]
			break
		}
	}
	if err := report(faults); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("data: %s holds no examples", path)
	}
	return out, nil
}

// report joins faults, at most shownFaults of them.
func report(faults []error) error {
	if n := len(faults) - shownFaults; n > 0 {
		faults = append(faults[:shownFaults:shownFaults], fmt.Errorf("and %d more", n))
	}
	return errors.Join(faults...)
}

func readSQuADFile(path string) ([]SQuADExample, []error) {
	kind := format(path)
	if kind == "parquet" {
		return readSQuADParquet(path)
	}
	r, err := open(path)
	if err != nil {
		return nil, []error{err}
	}
	defer r.Close() //nolint:errcheck // read only: a failed close loses nothing
	return ParseSQuAD(path, kind, r)
}

// ParseSQuAD reads examples of one format ("json" or "jsonl") from r; name is for messages.
func ParseSQuAD(name, kind string, r io.Reader) ([]SQuADExample, []error) {
	switch kind {
	case "jsonl":
		return parseLines(name, r)
	case "json":
		data, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
		if err == nil && len(data) > maxJSON {
			err = fmt.Errorf("larger than %d GiB: give it as JSON lines or parquet", maxJSON>>30)
		}
		if err != nil {
			return nil, []error{fmt.Errorf("data: %s: %w", name, err)}
		}
		return parseJSON(name, data)
	}
	return nil, []error{fmt.Errorf("data: %s: not a format that SQuAD comes in: use .json, .jsonl or .parquet (.gz and .zst of the first two)", name)}
}

func parseLines(name string, r io.Reader) (out []SQuADExample, faults []error) {
	err := lines(r, func(n int, line []byte) error {
		origin := fmt.Sprintf("%s:%d", name, n)
		var f flatJSON
		if err := json.Unmarshal(line, &f); err != nil {
			faults = append(faults, fmt.Errorf("%s: not a JSON object as SQuAD has it: %w", origin, err))
			return nil
		}
		e, err := f.example(origin)
		if err != nil {
			faults = append(faults, err)
			return nil
		}
		out = append(out, e)
		return nil
	})
	if err != nil {
		faults = append(faults, fmt.Errorf("data: %s: %w", name, err))
	}
	return out, faults
}

func parseJSON(name string, data []byte) ([]SQuADExample, []error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '[' {
		var list []flatJSON
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, []error{at(name, data, err)}
		}
		var out []SQuADExample
		var faults []error
		for i, f := range list {
			e, err := f.example(fmt.Sprintf("%s: [%d]", name, i))
			if err != nil {
				faults = append(faults, err)
				continue
			}
			out = append(out, e)
		}
		return out, faults
	}
	var n nestedJSON
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, []error{at(name, data, err)}
	}
	if n.Data == nil {
		return nil, []error{fmt.Errorf("data: %s: has no \"data\": SQuAD's file is {\"data\": [{\"paragraphs\": ...}]}; one example per line is JSON lines (.jsonl)", name)}
	}
	return n.examples(name)
}

// at adds the line to a JSON error.
func at(name string, data []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return fmt.Errorf("data: %s: %w", name, err)
	}
	return fmt.Errorf("%s:%d: %w", name, 1+bytes.Count(data[:offset], []byte("\n")), err)
}

// squadRow is the Hub's parquet layout.
type squadRow struct {
	ID       string `parquet:"id"`
	Title    string `parquet:"title"`
	Context  string `parquet:"context"`
	Question string `parquet:"question"`
	Answers  struct {
		Text []string `parquet:"text,list"`
	} `parquet:"answers"`
}

func readSQuADParquet(path string) (out []SQuADExample, faults []error) {
	// The parquet library panics on some damaged files; a data file must not take the process down.
	defer func() {
		if r := recover(); r != nil {
			out, faults = nil, []error{fmt.Errorf("data: %s: damaged parquet file: %v", path, r)}
		}
	}()
	rows, err := parquet.ReadFile[squadRow](path)
	if err != nil {
		return nil, []error{fmt.Errorf("data: %s: %w", path, err)}
	}
	for i, r := range rows {
		if r.Context == "" || r.Question == "" {
			faults = append(faults, fmt.Errorf("%s: row %d: no context or no question: a SQuAD table has columns id, title, context, question, answers", path, i))
			continue
		}
		out = append(out, SQuADExample{ID: r.ID, Title: r.Title, Context: r.Context, Question: r.Question, Answers: r.Answers.Text, Origin: fmt.Sprintf("%s: row %d", path, i)})
	}
	return out, faults
}
