package data

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// TestParquet reads SQuAD as the Hub has it: by parquet-go, and by pyarrow 26.0.1 with a list's values named "element"
// (today's way) and "item" (use_compliant_nested_type=False, older files).
func TestParquet(t *testing.T) {
	for _, name := range []string{"squad.parquet", "pyarrow.parquet", "pyarrow_item.parquet"} {
		path := "testdata/" + name
		got, err := SQuAD(path, "", 0)
		if err != nil || len(got) < 2 {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		if e := got[0]; e.ID != "1" || e.Title != "T" || e.Context != "C1" || e.Question != "Q1" || !slices.Equal(e.Answers, []string{"A1", "A1b"}) || e.Origin != path+": row 0" {
			t.Errorf("%s: got %+v", name, e)
		}
		if few, err := SQuAD(path, "", 1); err != nil || len(few) != 1 {
			t.Errorf("%s: the first is %v, %v", name, few, err)
		}
	}
	got, err := SQuAD("testdata/pyarrow_item.parquet", "", 0)
	if err != nil || len(got[1].Answers) != 0 {
		t.Errorf("a row without answers: %+v, %v", got, err)
	}
}

func writeParquet[T any](t *testing.T, rows ...T) string { return writeParquetAs(t, rows) }

func writeParquetAs[T any](t *testing.T, rows []T, options ...parquet.WriterOption) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.parquet")
	if err := parquet.WriteFile(path, rows, options...); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestParquetColumns(t *testing.T) {
	type qa struct {
		Context  *string `parquet:"context,optional"`
		Question string  `parquet:"question"`
	}
	c := "c"
	both := qa{&c, "q"}
	for name, path := range map[string]string{
		"[a b]": writeParquet(t, struct {
			qa
			Answers []string `parquet:"answers,list"`
		}{both, []string{"a", "b"}}),
		"[a]": writeParquet(t, struct {
			qa
			Answer string `parquet:"answer"`
		}{both, "a"}),
		"[a b ]": writeParquet(t, struct { // an answer that is there but empty
			qa
			Answers []struct {
				Start int32  `parquet:"answer_start"`
				Note  string `parquet:"note"`
				Text  string `parquet:"text"`
			} `parquet:"answers,list"`
		}{both, []struct {
			Start int32  `parquet:"answer_start"`
			Note  string `parquet:"note"`
			Text  string `parquet:"text"`
		}{{1, "n", "a"}, {2, "n", "b"}, {3, "n", ""}}}),
		"row 0: no answers: a SQuAD example has context, question and answers (the fields here: context, question)": writeParquet(t, both),
		"row 1: no context": writeParquet(t, struct {
			qa
			Answer string `parquet:"answer"`
		}{both, "a"}, struct {
			qa
			Answer string `parquet:"answer"`
		}{qa{nil, "q"}, "a"}),
		`row 0: column "answers" holds no texts`: writeParquet(t, struct {
			qa
			Answers []int32 `parquet:"answers,list"`
		}{both, []int32{1}}),
		`column "context" is not text`: writeParquet(t, struct {
			Context  []string `parquet:"context,list"`
			Question string   `parquet:"question"`
			Answer   string   `parquet:"answer"`
		}{[]string{"c"}, "q", "a"}),
	} {
		got, err := SQuAD(path, "", 0)
		if err == nil && len(got) == 1 && got[0].Context == "c" && got[0].Question == "q" && fmt.Sprint(got[0].Answers) == name {
			continue
		}
		wantError(t, fmt.Sprintf("%s (%+v)", name, got), err, "x.parquet: ", name)
	}
	ids := writeParquet(t, struct {
		ID int64 `parquet:"id"`
		qa
		Answer string `parquet:"answer"`
	}{7, both, "a"})
	if got, err := SQuAD(ids, "", 0); err != nil || got[0].ID != "7" {
		t.Errorf("a number as id: %v, %v", got, err)
	}
}

func TestParquetPacked(t *testing.T) {
	type row struct {
		Context  string `parquet:"context"`
		Question string `parquet:"question"`
		Answer   string `parquet:"answer"`
	}
	rows := make([]row, 1000) // more than are read at a time
	for i := range rows {
		rows[i] = row{fmt.Sprint("c", i), fmt.Sprint("q", i), fmt.Sprint("a", i)}
	}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Brotli, &parquet.Zstd} {
		path := writeParquetAs(t, rows, parquet.Compression(codec), parquet.MaxRowsPerRowGroup(300))
		got, err := SQuAD(path, "", 0)
		if err != nil || len(got) != len(rows) {
			t.Errorf("%s: %d rows, %v", codec, len(got), err)
			continue
		}
		for i, e := range got {
			if e.Context != rows[i].Context || e.Question != rows[i].Question || e.Answers[0] != rows[i].Answer || e.Origin != fmt.Sprintf("%s: row %d", path, i) {
				t.Fatalf("%s: row %d is %+v", codec, i, e)
			}
		}
		if got, err = SQuAD(path, "", 301); err != nil || len(got) != 301 {
			t.Errorf("%s: %d rows of 301, %v", codec, len(got), err)
		}
	}
	_, err := SQuAD(writeParquetAs(t, rows, parquet.Compression(&parquet.Lz4Raw)), "", 0)
	wantError(t, "lz4", err, "x.parquet: ", "write it with zstd or snappy")
}

// TestTornParquet cuts and bends a file everywhere: an error or examples, never a panic.
func TestTornParquet(t *testing.T) {
	whole, err := os.ReadFile("testdata/pyarrow.parquet")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.parquet")
	read := func(raw []byte) error {
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := SQuAD(path, "", 0)
		return err
	}
	long := slices.Clone(whole)
	long[len(long)-5] = 0x70 // a footer of 1.8 GiB
	wantError(t, "a long footer", read(long), "x.parquet: ", "longer than the file")
	for n := 0; n < len(whole); n += 97 {
		wantError(t, fmt.Sprintf("cut to %d bytes", n), read(whole[:n]), "x.parquet: ")
		bent := slices.Clone(whole)
		bent[n] ^= 0x55
		if err := read(bent); err != nil {
			wantError(t, fmt.Sprintf("byte %d bent", n), err, "x.parquet: ")
		}
	}
}
