package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden is a case from Hugging Face's tokenizers (tools/oracle/tokenizer.py).
type golden struct {
	Text    string   `json:"text"`
	IDs     []int32  `json:"ids"`
	Offsets [][2]int `json:"offsets"`
	Decoded string   `json:"decoded"`
}

func readCases(t testing.TB, path string) []golden {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []golden
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkCases(t *testing.T, tok *Tokenizer, cases []golden) {
	t.Helper()
	for _, c := range cases {
		e, err := tok.Encode(c.Text, false)
		if err != nil {
			t.Errorf("%q: %v", c.Text, err)
			continue
		}
		if !slices.Equal(e.IDs, c.IDs) {
			t.Errorf("%q: ids %v, want %v", c.Text, e.IDs, c.IDs)
			continue
		}
		if c.Offsets != nil && !slices.Equal(e.Offsets, c.Offsets) {
			t.Errorf("%q: offsets %v, want %v", c.Text, e.Offsets, c.Offsets)
		}
		if got := tok.Decode(c.IDs, false); got != c.Decoded {
			t.Errorf("%q: decodes to %q, want %q", c.Text, got, c.Decoded)
		}
		s, streamed := tok.NewStream(), ""
		for _, id := range c.IDs {
			streamed += s.Push(id)
		}
		streamed += s.Flush()
		if want := tok.Decode(c.IDs, true); streamed != want {
			t.Errorf("%q: streams as %q, want %q", c.Text, streamed, want)
		}
	}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*_tokenizer.json")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d golden tokenizers, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), "_tokenizer.json")
		t.Run(name, func(t *testing.T) {
			tok, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			checkCases(t, tok, readCases(t, "testdata/"+name+"_cases.json"))
		})
	}
}
