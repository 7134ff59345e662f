package data

import (
	"fmt"
	"strings"
	"testing"

	"gorun/configs"
)

// TestEncodeText: the words of "aa b cccc" are 2, 2 and 5 bytes; 1 begins a text and 2 ends it.
func TestEncodeText(t *testing.T) {
	for _, c := range []struct {
		window int
		tok    words
		want   string
	}{
		{100, words{}, "f: [1 12 12 15] [12 12 15 2]"},
		{4, words{}, "f: [1 12 12 15] [12 12 15 2]"},
		{3, words{}, "f: tokens 0 to 3: [1 12 12] [12 12 15]; f: tokens 3 to 4: [15] [2]"},
		{2, words{}, "f: tokens 0 to 2: [1 12] [12 12]; f: tokens 2 to 4: [12 15] [15 2]"},
		{100, words{noEOS: true}, "f: [1 12 12] [12 12 15]"},
	} {
		got, err := encodeText(c.tok, passage{"aa b cccc", "f"}, c.window)
		var all []string
		for _, s := range got {
			all = append(all, fmt.Sprintf("%s: %v %v", s.Origin, s.IDs, s.Labels))
		}
		if text := strings.Join(all, "; "); err != nil || text != c.want {
			t.Errorf("window %d: got %s, %v, want %s", c.window, text, err, c.want)
		}
	}
	_, err := encodeText(words{noEOS: true}, passage{"", "f"}, 5)
	wantError(t, "nothing", err, "f: too short")
}

func TestBuildText(t *testing.T) {
	c := configs.Default().Dataset
	c.Kind, c.SeqLength = "text", 3
	build := func(name, text string) (string, error) {
		c.PathOrID = write(t, name, text)
		d, err := built(t, c, words{}, 100, 50)
		if err != nil {
			return "", err
		}
		s := d.Stats()
		return fmt.Sprintf("%d samples, %d tokens, %d trained, longest %d, mean %.1f, %d skipped", s.Samples, s.Tokens, s.Trained, s.Longest, s.Mean(), d.Skipped), nil
	}
	const want = "2 samples, 4 tokens, 4 trained, longest 3, mean 2.0, 0 skipped"
	for name, text := range map[string]string{
		"a.txt": "aa b cccc", "a.txt.gz": "aa b cccc", "a.jsonl": `{"text":"aa b cccc"}`, "a.json": `[{"text":"aa b cccc"}]`,
	} {
		if got, err := build(name, text); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
		}
	}
	for name, text := range map[string]string{
		`no "text": a text has it: name the field that holds the text in dataset.columns.text (the fields here: body)`: `{"body":"x"}`,
		`a.jsonl:1: "text" is a list, not text`: `{"text":[]}`,
	} {
		_, err := build("a.jsonl", text)
		wantError(t, text, err, name)
	}
	_, err := build("a.txt", "caf\xe9")
	wantError(t, "Latin-1", err, "a.txt: not UTF-8")
	c.OnBad = "skip"
	if got, err := build("a.jsonl", "{\"text\":\"aa b cccc\"}\n{}\n{\"text\":\"x\"}\n{oops\n"); err != nil || got != "3 samples, 6 tokens, 6 trained, longest 3, mean 2.0, 2 skipped" {
		t.Errorf("skip: %s, %v", got, err)
	}
	c.LimitDatasetSamples = 1
	if got, err := build("a.txt", "aa b cccc"); err != nil || got != "1 samples, 3 tokens, 3 trained, longest 3, mean 3.0, 0 skipped" {
		t.Errorf("limit: %s, %v", got, err)
	}
	c.LimitDatasetSamples, c.Columns.Text = 0, "context"
	c.PathOrID = "testdata/pyarrow.parquet"
	if d, err := built(t, c, words{}, 100, 50); err != nil || d.Len() != 2 || samplesOf(t, d)[1].Origin != "testdata/pyarrow.parquet: row 1" {
		t.Errorf("parquet: %+v, %v", d, err)
	}
}
