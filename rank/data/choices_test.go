package data

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func choiceFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHellaSwag: prepared as lm-eval 0.4.13 prepares it (what is wanted was printed by its process_docs).
func TestHellaSwag(t *testing.T) {
	path := choiceFile(t, `{"activity_label": "Roof shingle removal", "ctx_a": "A man is sitting on a roof.", "ctx_b": "he STARTS Pulling", "endings": ["is using [header] wrap. [title] Now  go", " rips  up ", "x"], "label": "1"}
{"activity_label": "Élan", "ctx_a": " [step] a ", "ctx_b": "", "endings": ["b", "c"], "label": 0}
`)
	got, err := HellaSwag(path, "validation", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []ChoiceExample{
		{Query: "Roof shingle removal: A man is sitting on a roof. He starts pulling", Choices: []string{"is using wrap.. Now go", "rips up", "x"}, Gold: 1, Origin: path + ":1"},
		{Query: "Élan:  a", Choices: []string{"b", "c"}, Origin: path + ":2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMultipleChoice(t *testing.T) {
	path := choiceFile(t, `{"query": "q", "choices": ["a", "b"], "gold": 1}
{"prompt": "p", "choices": ["c", "d"], "gold": "0"}
`)
	got, err := MultipleChoice(path, "", 1)
	if err != nil || len(got) != 1 || got[0].Query != "q" || got[0].Gold != 1 {
		t.Errorf("%+v (%v)", got, err)
	}
	if got, err = MultipleChoice(path, "", 0); err != nil || len(got) != 2 || got[1].Query != "p" || got[1].Choices[1] != "d" {
		t.Errorf("%+v (%v)", got, err)
	}
	for name, c := range map[string]struct{ line, want string }{
		"no gold":    {`{"query": "q", "choices": ["a", "b"]}`, "no gold"},
		"no query":   {`{"choices": ["a", "b"], "gold": 0}`, "no query or prompt"},
		"beyond":     {`{"query": "q", "choices": ["a", "b"], "gold": 2}`, `"2" of 2`},
		"one choice": {`{"query": "q", "choices": ["a"], "gold": 0}`, "at least two"},
		"empty":      {``, "holds no examples"},
	} {
		if _, err := MultipleChoice(choiceFile(t, c.line), "", 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
