package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

type answer struct {
	Text  string `json:"text"`
	Start int    `json:"answer_start"`
}

type question struct {
	ID       string   `json:"id"`
	Question string   `json:"question"`
	Answers  []answer `json:"answers"`
}

type paragraph struct {
	Context string     `json:"context"`
	QAs     []question `json:"qas"`
}

type article struct {
	Title      string      `json:"title"`
	Paragraphs []paragraph `json:"paragraphs"`
}

type squad struct {
	Version string    `json:"version"`
	Data    []article `json:"data"`
}

type split struct {
	name string
	raw  []byte
	set  squad
}

// splits decodes both files strictly: an unknown field or text after the object fails the test.
func splits(t *testing.T) (train, validation split) {
	t.Helper()
	decode := func(name string, raw []byte) split {
		if !utf8.Valid(raw) {
			t.Fatalf("%s: not well-formed UTF-8", name)
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		s := split{name: name, raw: raw}
		if err := dec.Decode(&s.set); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			t.Fatalf("%s: text after the object (%v)", name, err)
		}
		if s.set.Version != "1.1" {
			t.Fatalf("%s: version %q, want 1.1", name, s.set.Version)
		}
		return s
	}
	return decode("train.json", Train()), decode("validation.json", Validation())
}

func (s split) each(f func(a article, p paragraph, q question)) {
	for _, a := range s.set.Data {
		for _, p := range a.Paragraphs {
			for _, q := range p.QAs {
				f(a, p, q)
			}
		}
	}
}

func TestSize(t *testing.T) {
	train, validation := splits(t)
	for _, c := range []struct {
		s                               split
		passages, questions, perPassage int
	}{{train, 60, 240, 4}, {validation, 10, 40, 4}} {
		passages, questions := 0, 0
		for _, a := range c.s.set.Data {
			for _, p := range a.Paragraphs {
				passages++
				questions += len(p.QAs)
				if len(p.QAs) < c.perPassage {
					t.Errorf("%s: %s: %d questions, want at least %d", c.s.name, a.Title, len(p.QAs), c.perPassage)
				}
			}
		}
		if passages < c.passages || questions < c.questions {
			t.Errorf("%s: %d passages and %d questions, want at least %d and %d",
				c.s.name, passages, questions, c.passages, c.questions)
		}
	}
	if n := len(train.raw) + len(validation.raw); n > 150_000 {
		t.Errorf("both files take %d bytes, want at most 150000", n)
	}
}

func TestContexts(t *testing.T) {
	train, validation := splits(t)
	for _, s := range []split{train, validation} {
		for _, a := range s.set.Data {
			for _, p := range a.Paragraphs {
				words := strings.Fields(p.Context)
				if len(words) < 50 || len(words) > 120 {
					t.Errorf("%s: %s: %d words, want 50 to 120", s.name, a.Title, len(words))
				}
				if p.Context != strings.Join(words, " ") {
					t.Errorf("%s: %s: stray white space in the context", s.name, a.Title)
				}
			}
		}
	}
}

// TestAnswersAreSpans holds the promise every user of SQuAD data relies on: counted in code points, the
// context at answer_start is the answer, and it begins and ends at word boundaries.
func TestAnswersAreSpans(t *testing.T) {
	train, validation := splits(t)
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	for _, c := range []struct {
		s       split
		maxGold int
	}{{train, 1}, {validation, 3}} {
		total, short := 0, 0
		c.s.each(func(_ article, p paragraph, q question) {
			if len(q.Answers) < 1 || len(q.Answers) > c.maxGold {
				t.Errorf("%s: %s: %d answers, want 1 to %d", c.s.name, q.ID, len(q.Answers), c.maxGold)
			}
			context := []rune(p.Context)
			seen := map[answer]bool{}
			if len(q.Answers) > 0 {
				total++
				if len(strings.Fields(q.Answers[0].Text)) <= 4 {
					short++
				}
			}
			for _, a := range q.Answers {
				text := []rune(a.Text)
				end := a.Start + len(text)
				if len(text) == 0 || a.Start < 0 || end > len(context) || string(context[a.Start:end]) != a.Text {
					t.Errorf("%s: %s: %q is not the span at code point %d", c.s.name, q.ID, a.Text, a.Start)
					continue
				}
				if !isWord(text[0]) || !isWord(text[len(text)-1]) && !strings.HasSuffix(a.Text, ".m.") {
					t.Errorf("%s: %s: %q begins or ends with punctuation or space", c.s.name, q.ID, a.Text)
				}
				if a.Start > 0 && isWord(context[a.Start-1]) || end < len(context) && isWord(context[end]) {
					t.Errorf("%s: %s: %q cuts a word", c.s.name, q.ID, a.Text)
				}
				n := len(strings.Fields(a.Text))
				if n > 8 {
					t.Errorf("%s: %s: %q has %d words, want at most 8", c.s.name, q.ID, a.Text, n)
				}
				if seen[a] {
					t.Errorf("%s: %s: %q given twice", c.s.name, q.ID, a.Text)
				}
				seen[a] = true
			}
		})
		if short*10 < total*9 {
			t.Errorf("%s: %d of %d first answers have at most four words, want nine in ten", c.s.name, short, total)
		}
	}
}

func TestQuestions(t *testing.T) {
	train, validation := splits(t)
	ids, texts := map[string]bool{}, map[string]string{}
	for _, s := range []split{train, validation} {
		s.each(func(_ article, _ paragraph, q question) {
			if q.ID == "" || ids[q.ID] {
				t.Errorf("%s: id %q is empty or used twice", s.name, q.ID)
			}
			ids[q.ID] = true
			key := strings.ToLower(q.Question)
			if other, dup := texts[key]; dup {
				t.Errorf("%s: %s asks the same as %s: %q", s.name, q.ID, other, q.Question)
			}
			texts[key] = q.ID
			if q.Question != strings.TrimSpace(q.Question) || !strings.HasSuffix(q.Question, "?") {
				t.Errorf("%s: %s: %q is not a trimmed question", s.name, q.ID, q.Question)
			}
			for _, a := range q.Answers {
				if len(a.Text) > 3 && strings.Contains(key, strings.ToLower(a.Text)) {
					t.Errorf("%s: %s: the question gives away %q", s.name, q.ID, a.Text)
				}
			}
		})
	}
}

// TestSplitsAreDisjoint compares titles and every run of seven words, so that neither a copied nor a
// lightly changed passage can leak from training into validation.
func TestSplitsAreDisjoint(t *testing.T) {
	const run = 7
	train, validation := splits(t)
	titles, runs := map[string]string{}, map[string]string{}
	for _, s := range []split{train, validation} {
		for _, a := range s.set.Data {
			if other, dup := titles[a.Title]; dup {
				t.Errorf("title %q is in %s and %s", a.Title, other, s.name)
			}
			titles[a.Title] = s.name
			for _, p := range a.Paragraphs {
				words := strings.Fields(strings.ToLower(p.Context))
				for i := 0; i+run <= len(words); i++ {
					key := strings.Join(words[i:i+run], " ")
					if other, dup := runs[key]; dup && other != a.Title {
						t.Errorf("%s: %s shares %q with %s", s.name, a.Title, key, other)
					}
					runs[key] = a.Title
				}
			}
		}
	}
}

func TestReturnedBytesAreTheCallers(t *testing.T) {
	for name, get := range map[string]func() []byte{"Train": Train, "Validation": Validation} {
		first := get()
		want := bytes.Clone(first)
		clear(first)
		if !bytes.Equal(get(), want) {
			t.Errorf("%s: writing to the returned bytes changed the embedded file", name)
		}
	}
}
