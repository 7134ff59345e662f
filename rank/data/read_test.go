package data

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const (
	nested = `{"version":"1.1","data":[{"title":"T","paragraphs":[{"context":"C1","qas":[
		{"id":"1","question":"Q1","answers":[{"text":"A1","answer_start":0},{"text":"A1b","answer_start":0}]},
		{"id":"2","question":"Q2","is_impossible":true,"answers":[]}]}]}]}`
	// As SQuAD v2 has it: what belongs to all questions comes after them.
	nestedLate = `{"data":[{"paragraphs":[{"qas":[{"question":"Q1","id":"1","answers":[{"text":"A1"},{"text":"A1b"}]},
		{"question":"Q2","id":"2","answers":[],"plausible_answers":[{"text":"x"}]}],"context":"C1"}],"title":"T"}],"version":"v2.0"}`
	lined = `{"id":"1","title":"T","context":"C1","question":"Q1","answers":{"text":["A1","A1b"],"answer_start":[0,0]}}

{"id":"2","title":"T","context":"C1","question":"Q2","answers":{"text":[],"answer_start":[]}}
`
)

func TestReadSQuAD(t *testing.T) {
	elements := strings.ReplaceAll(strings.TrimSpace(lined), "\n\n", ",\n")
	for _, c := range []struct{ name, text, origins string }{
		{"nested.json", nested, "nested.json:2: data[0].paragraphs[0].qas[0] nested.json:3: data[0].paragraphs[0].qas[1]"},
		{"late.json", nestedLate, "late.json:1: data[0].paragraphs[0].qas[0] late.json:2: data[0].paragraphs[0].qas[1]"},
		{"l.jsonl", lined, "l.jsonl:1 l.jsonl:3"},
		{"misnamed.json", lined, "misnamed.json:1 misnamed.json:3"},
		{"list.json", "[" + elements + "]", "list.json:1: [0] list.json:2: [1]"},
		{"data.json", `{"version":1,"data":[` + elements + "]}\n", "data.json:1: data[0] data.json:2: data[1]"},
		{"mark.jsonl", "\xef\xbb\xbf" + lined, "mark.jsonl:1 mark.jsonl:3"},
		{"g.json.gz", nested, "g.json.gz:2: data[0].paragraphs[0].qas[0] g.json.gz:3: data[0].paragraphs[0].qas[1]"},
		{"z.jsonl.zst", lined, "z.jsonl.zst:1 z.jsonl.zst:3"},
		{"sniffed.jsonl", string(packed(t, ".gz", lined)), "sniffed.jsonl:1 sniffed.jsonl:3"},
		{"sniffed.json", string(packed(t, ".zst", nestedLate)), "sniffed.json:1: data[0].paragraphs[0].qas[0] sniffed.json:2: data[0].paragraphs[0].qas[1]"},
	} {
		path := write(t, c.name, c.text)
		got, err := SQuAD(path, "", 0)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var origins []string
		for i := range got {
			origins = append(origins, strings.TrimPrefix(got[i].Origin, filepath.Dir(path)+"/"))
			got[i].Origin = ""
		}
		want := []SQuADExample{
			{ID: "1", Title: "T", Context: "C1", Question: "Q1", Answers: []string{"A1", "A1b"}},
			{ID: "2", Title: "T", Context: "C1", Question: "Q2"},
		}
		if len(got) == 2 && len(got[1].Answers) == 0 {
			got[1].Answers = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if s := strings.Join(origins, " "); s != c.origins {
			t.Errorf("%s: origins %s, want %s", c.name, s, c.origins)
		}
		if few, err := SQuAD(path, "", 1); err != nil || len(few) != 1 || few[0].ID != "1" {
			t.Errorf("%s: the first of it is %v, %v", c.name, few, err)
		}
	}
}

func TestShapesOfAnswers(t *testing.T) {
	for text, want := range map[string]string{
		`"answers":[{"text":"a"},{"text":"b"}]`: "[a b]",
		`"answers":{"text":["a","b"]}`:          "[a b]",
		`"answers":{"text":"a"}`:                "[a]",
		`"answers":["a","b"]`:                   "[a b]",
		`"answers":"a"`:                         "[a]",
		`"answer":"a"`:                          "[a]",
		`"answers":[]`:                          "[]",
		`"answers":[{"answer_start":1}]`:        `"answers": [0]: has no text`,
		`"answers":[null]`:                      `"answers": [0]: is null`,
		`"answers":7`:                           `"answers": is a number`,
		`"answers":[[[["a"]]]]`:                 `is a list`,
		`"answers":null`:                        `no answers: a SQuAD example has context, question and answers (the fields here: answers, context, id, question)`,
		`"context":{}`:                          `"context" is an object, not text; no answers`,
	} {
		got, faults := parseSQuAD("f", "jsonl", strings.NewReader(`{"id":5,"context":"c","question":"q",`+text+"}"))
		if len(got) == 1 && got[0].ID == "5" && fmt.Sprint(got[0].Answers) == want {
			continue
		}
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "f:1: ") || !strings.Contains(faults[0].Error(), want) {
			t.Errorf("%s: got %v, %v, want %s", text, got, faults, want)
		}
	}
}

func TestBrokenData(t *testing.T) {
	var many strings.Builder // each broken at another byte
	for i := range 50 {
		fmt.Fprintf(&many, "{\"%s\" oops\n", strings.Repeat("a", i))
	}
	for _, c := range []struct {
		name, text string
		wants      []string
	}{
		{"a.jsonl", lined + "{oops\n" + `{"context":"x"}`, []string{"a.jsonl:4: not a JSON object", "a.jsonl:5: no question, no answers"}},
		{"a.jsonl", lined + "[1]\nnull\n", []string{"a.jsonl:4: not a JSON object but a list", "a.jsonl:5: not a JSON object but null"}},
		{"a.jsonl", "{\"context\":\"\xff\"}", []string{"a.jsonl:1: not UTF-8"}},
		{"a.jsonl", many.String(), []string{"a.jsonl:1: ", "a.jsonl:20: ", "and 30 more"}},
		{"a.jsonl", strings.Repeat("{oops\n", 3), []string{"a.jsonl:1: ", "(so are ", "a.jsonl:2, ", "a.jsonl:3)"}},
		{"a.jsonl", strings.Repeat("{oops\n", 50), []string{"a.jsonl:1: ", "(so are 49 more: ", "a.jsonl:5, ...)"}},
		{"a.json", "{\n\n\"data\": [}", []string{"a.json:3: not JSON"}},
		{"a.json", "{\"data\": [\n\n", []string{"a.json:3: not JSON", "unexpected end"}},
		{"a.json", "[\n1,\n{\"context\":1}]", []string{"a.json:2: [0]: not a JSON object but a number", "a.json:3: [1]: no question, no answers"}},
		{"a.json", "[]\n]", []string{"a.json:2: not JSON"}},
		{"a.json", "{\"a\":\n\"b\xff\"}", []string{"a.json:2: not UTF-8"}},
		{"a.json", `"text"`, []string{"a.json: not a JSON object but text"}},
		{"a.json", `{"rows":[]}`, []string{`has no "data" (the fields here: rows)`}},
		{"a.json", `{"data":[{"paragraphs":[{"qas":[{"question":"q","answers":[]},7]}]}]}`,
			[]string{"a.json:1: data[0].paragraphs[0].qas[0]: no context", "qas[1]: not a JSON object but a number"}},
		{"a.json", "{\"data\":[{\"paragraphs\":[\n5]}]}", []string{"a.json:2: an object was expected here"}},
		{"a.json", `{"data":5}`, []string{"a.json:1: a list was expected here"}},
		{"a.csv", "x", []string{"not a format"}},
		{"a.txt", "x", []string{"not a format"}},
		{"a.parquet.gz", "x", []string{"a.parquet.gz: parquet packs its pages itself"}},
		{"a.jsonl", "", []string{"holds no examples"}},
		{"a.jsonl.gz", "", []string{"holds no examples"}},
		{"a.json", "", []string{"a.json", "not JSON"}},
		{"bad.parquet", "PAR1 this is not parquet PAR1", []string{"bad.parquet: not a whole parquet file (is the download complete?)"}},
	} {
		_, err := SQuAD(write(t, c.name, c.text), "", 0)
		wantError(t, c.name, err, c.wants...)
	}
	_, err := SQuAD(filepath.Join(t.TempDir(), "none.jsonl"), "", 0)
	wantError(t, "no file", err, "none.jsonl", "dataset.path_or_id")
	for name, raw := range map[string][]byte{
		"plain.jsonl.gz": []byte(lined), "plain.jsonl.zst": []byte(lined),
		"torn.jsonl.gz": packed(t, ".gz", lined)[:40], "torn.json.zst": packed(t, ".zst", nested)[:40], "torn.jsonl": packed(t, ".gz", lined)[:40],
	} {
		_, err := SQuAD(write(t, filepath.Join("x", name)+"", ""), "", 0)
		if err == nil {
			t.Errorf("%s: an empty file is read", name)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = SQuAD(path, "", 0)
		wants := []string{name}
		if strings.HasPrefix(name, "torn") {
			wants = append(wants, "cannot be unpacked to its end (is the download complete?)")
		}
		wantError(t, name, err, wants...)
	}
	// Faults beyond the samples that are wanted do not matter.
	if got, err := SQuAD(write(t, "a.jsonl", lined+many.String()), "", 2); err != nil || len(got) != 2 {
		t.Errorf("the first two of a broken file: %v, %v", got, err)
	}
}

// TestRoundTrip: whatever the texts, what is written as JSON comes back, nested or lined.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type answer struct {
			Text string `json:"text"`
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
		var file struct {
			Data []article `json:"data"`
		}
		var lines, want []string
		for range rapid.IntRange(0, 3).Draw(t, "articles") {
			a := article{Title: rapid.String().Draw(t, "title")}
			for range rapid.IntRange(0, 2).Draw(t, "paragraphs") {
				p := paragraph{Context: rapid.String().Draw(t, "context")}
				for range rapid.IntRange(0, 3).Draw(t, "questions") {
					q := question{ID: fmt.Sprint(len(want)), Question: rapid.String().Draw(t, "question"), Answers: []answer{}}
					e := SQuADExample{ID: q.ID, Title: a.Title, Context: p.Context, Question: q.Question, Answers: []string{}}
					for range rapid.IntRange(0, 2).Draw(t, "answers") {
						x := rapid.String().Draw(t, "answer")
						q.Answers, e.Answers = append(q.Answers, answer{x}), append(e.Answers, x)
					}
					p.QAs = append(p.QAs, q)
					line, err := json.Marshal(map[string]any{"id": q.ID, "title": a.Title, "context": p.Context, "question": q.Question, "answers": q.Answers})
					if err != nil {
						t.Fatal(err)
					}
					lines, want = append(lines, string(line)), append(want, fmt.Sprintf("%q", []any{e}))
				}
				if p.QAs == nil {
					p.QAs = []question{}
				}
				a.Paragraphs = append(a.Paragraphs, p)
			}
			if a.Paragraphs == nil {
				a.Paragraphs = []paragraph{}
			}
			file.Data = append(file.Data, a)
		}
		if file.Data == nil {
			file.Data = []article{}
		}
		whole, err := json.MarshalIndent(file, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		for kind, text := range map[string]string{"json": string(whole), "jsonl": strings.Join(lines, "\n")} {
			got, faults := parseSQuAD("f", kind, strings.NewReader(text))
			var shown []string
			for _, e := range got {
				e.Origin = ""
				shown = append(shown, fmt.Sprintf("%q", []any{e}))
			}
			if len(faults) > 0 || !slices.Equal(shown, want) {
				t.Fatalf("%s: got %v, %v, want %v", kind, shown, faults, want)
			}
		}
	})
}

// parseSQuAD reads examples of one format ("json" or "jsonl") from r; name is for messages. The faults are those of
// the examples that are left out, or one of the whole.
func parseSQuAD(name, kind string, r io.Reader) ([]SQuADExample, []error) {
	c := collector[SQuADExample]{make: exampleOf}
	if err := visitReader(name, kind, r, c.visit); err != nil {
		c.faults = append(c.faults, err)
	}
	return c.out, c.faults
}
