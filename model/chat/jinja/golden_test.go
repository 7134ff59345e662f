package jinja

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// snippets are templates with what Jinja makes of them in transformers' environment (tools/oracle/chat.py).
type snippets struct {
	Names map[string]json.RawMessage
	Cases []struct{ Source, Text, Error string }
}

func readSnippets(t testing.TB) (s snippets, names map[string]any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/snippets.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	names = map[string]any{}
	for name, v := range s.Names {
		if names[name], err = FromJSON(v); err != nil {
			t.Fatal(err)
		}
	}
	return s, names
}

// stopClock holds the time at that of the goldens.
func stopClock(t testing.TB) {
	old := clock
	clock = func() time.Time { return time.Date(2024, 7, 4, 9, 5, 3, 0, time.UTC) }
	t.Cleanup(func() { clock = old })
}

func render(src string, names map[string]any) (string, error) {
	t, err := Parse(src)
	if err != nil {
		return "", err
	}
	r, err := t.Render(names)
	return r.Text, err
}

// TestSnippets: every snippet is rendered byte for byte as in Python, and fails where Python does.
func TestSnippets(t *testing.T) {
	stopClock(t)
	all, names := readSnippets(t)
	for _, c := range all.Cases {
		got, err := render(c.Source, names)
		switch {
		case c.Error == "" && err != nil:
			t.Errorf("%s\nfails: %v\nwant %q", c.Source, err, c.Text)
		case c.Error != "" && err == nil:
			t.Errorf("%s\ngives %q, want %s", c.Source, got, c.Error)
		case c.Error == "" && got != c.Text:
			t.Errorf("%s\n got %q\nwant %q", c.Source, got, c.Text)
		}
	}
	if len(all.Cases) < 90 {
		t.Errorf("only %d snippets", len(all.Cases))
	}
}
