package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParseSQuAD: any text is examples, each with its place, and faults, each with the file.
func FuzzParseSQuAD(f *testing.F) {
	for _, text := range []string{nested, nestedLate, lined, `[{"context":"a","question":"b","answers":["c"]}]`, "[1,\n]", `{"data":[{"paragraphs":[{"qas":[5]}]}]}`, "{}{}"} {
		f.Add(text, "json")
		f.Add(text, "jsonl")
	}
	f.Fuzz(func(t *testing.T, text, kind string) {
		got, faults := parseSQuAD("file", kind, strings.NewReader(text))
		for _, e := range got {
			if !strings.HasPrefix(e.Origin, "file:") || !utf8.ValidString(e.Context+e.Question+e.ID+e.Title) {
				t.Errorf("example %+v", e)
			}
		}
		for _, f := range faults {
			if !strings.Contains(f.Error(), "file") {
				t.Errorf("fault %v", f)
			}
		}
	})
}

// FuzzParquet: any bytes are rows or an error.
func FuzzParquet(f *testing.F) {
	for _, name := range []string{"pyarrow.parquet", "pyarrow_item.parquet", "squad.parquet"} {
		raw, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := collector[SQuADExample]{limit: 1000, make: exampleOf}
		err := visitRows("file", bytes.NewReader(raw), int64(len(raw)), func(origin string, r record, err error) error {
			for _, field := range r.fields() {
				if v, _, err := r.value(field); err == nil && v != nil && !json.Valid(v) {
					t.Errorf("%s: %s is %s, which is no JSON", origin, field, v)
				}
			}
			return c.visit(origin, r, err)
		})
		if err != nil && !errors.Is(err, errEnough) && err.Error() == "" {
			t.Error("an empty error")
		}
		for _, e := range c.out {
			if !strings.HasPrefix(e.Origin, "file: row ") {
				t.Errorf("example %+v", e)
			}
		}
	})
}
