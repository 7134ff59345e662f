package data

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gorun/configs"
	"gorun/model/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words is a tokenizer whose tokens are words with the space before them: id = 10 + length.
type words struct{ noEOS bool }

func (words) Encode(text string, _ bool) (tokenizer.Encoding, error) {
	var e tokenizer.Encoding
	for lo := 0; lo < len(text); {
		hi := lo + 1
		for hi < len(text) && text[hi] != ' ' {
			hi++
		}
		e.IDs = append(e.IDs, int32(10+hi-lo))
		e.Offsets = append(e.Offsets, [2]int{lo, hi})
		lo = hi
	}
	return e, nil
}

func (w words) EOS() (int32, bool) { return 2, !w.noEOS }

var example = SQuADExample{Context: "c", Question: "q", Answers: []string{" blue moon "}, Origin: "f:1"}

func TestEncodeSQuAD(t *testing.T) {
	// "Context: c Question: q Answer: blue moon": six words of prompt, two of answer, and the end.
	s, err := encodeSQuAD(words{}, example, false)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs, wantLabels := []int32{18, 12, 20, 12, 18, 15, 15}, []int32{-100, -100, -100, -100, 15, 15, 2}
	// The words: "Context:" 8, " c" 2, " Question:" 10, " q" 2, " Answer:" 8, " blue" 5, " moon" 5.
	if !slices.Equal(s.IDs, wantIDs) || !slices.Equal(s.Labels, wantLabels) {
		t.Errorf("ids %v labels %v, want %v %v", s.IDs, s.Labels, wantIDs, wantLabels)
	}
	// AutoModel hides as many tokens as the prompt with its trailing space has: one too many here.
	s, err = encodeSQuAD(words{}, example, true)
	if err != nil {
		t.Fatal(err)
	}
	wantIDs, wantLabels = []int32{18, 12, 20, 12, 18, 15}, []int32{-100, -100, -100, -100, -100, 15}
	if !slices.Equal(s.IDs, wantIDs) || !slices.Equal(s.Labels, wantLabels) {
		t.Errorf("automodel: ids %v labels %v, want %v %v", s.IDs, s.Labels, wantIDs, wantLabels)
	}
	if _, err := encodeSQuAD(words{noEOS: true}, example, false); err == nil || !strings.Contains(err.Error(), "end-of-sequence") {
		t.Errorf("no EOS: %v", err)
	}
	if _, err := encodeSQuAD(words{}, SQuADExample{Origin: "f:9"}, false); err == nil || !strings.Contains(err.Error(), "f:9: has no answer") {
		t.Errorf("no answer: %v", err)
	}
}

func TestShow(t *testing.T) {
	s, err := encodeSQuAD(words{}, example, false)
	if err != nil {
		t.Fatal(err)
	}
	got := Show(s, func(ids []int32) string { return fmt.Sprint(ids) })
	if want := "f:1 (7 tokens, 3 trained on)\n[18 12 20 12 18][[[15 15 2]]]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

const (
	nested = `{"version":"1.1","data":[{"title":"T","paragraphs":[{"context":"C1","qas":[
		{"id":"1","question":"Q1","answers":[{"text":"A1","answer_start":0},{"text":"A1b","answer_start":0}]},
		{"id":"2","question":"Q2","is_impossible":true,"answers":[]}]}]}]}`
	lined = `{"id":"1","title":"T","context":"C1","question":"Q1","answers":{"text":["A1","A1b"],"answer_start":[0,0]}}

{"id":"2","title":"T","context":"C1","question":"Q2","answers":{"text":[],"answer_start":[]}}
`
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var w io.WriteCloser = f
	switch filepath.Ext(name) {
	case ".gz":
		w = gzip.NewWriter(f)
	case ".zst":
		if w, err = zstd.NewWriter(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSQuAD(t *testing.T) {
	list := "[" + strings.ReplaceAll(strings.TrimSpace(lined), "\n\n", ",") + "]"
	for name, text := range map[string]string{"a.json": nested, "b.jsonl": lined, "c.json": list, "d.json.gz": nested, "e.jsonl.zst": lined} {
		got, err := ReadSQuAD(write(t, name, text), "", 0)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(got) != 2 || got[0].Title != "T" || got[0].Context != "C1" || got[0].Question != "Q1" || !slices.Equal(got[0].Answers, []string{"A1", "A1b"}) || len(got[1].Answers) != 0 || got[1].ID != "2" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	got, err := ReadSQuAD("testdata/squad.parquet", "", 1)
	if err != nil || len(got) != 1 || got[0].Question != "Q1" || !slices.Equal(got[0].Answers, []string{"A1", "A1b"}) {
		t.Errorf("parquet: %+v, %v", got, err)
	}
	folder := filepath.Dir(filepath.Dir(write(t, "data/train-00000-of-00001.jsonl", lined)))
	if got, err := ReadSQuAD(folder, "train", 0); err != nil || len(got) != 2 {
		t.Errorf("folder: %d, %v", len(got), err)
	}
	if _, err := ReadSQuAD(folder, "validation", 0); err == nil || !strings.Contains(err.Error(), `no file of split "validation" (it has train-00000-of-00001.jsonl)`) {
		t.Errorf("missing split: %v", err)
	}
}

func TestBrokenData(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a.jsonl", lined + "{oops\n" + `{"context":"x"}`, "a.jsonl:4: not a JSON object"},
		{"a.jsonl", lined + "{oops\n" + `{"context":"x"}`, "a.jsonl:5: no question, no answers"},
		{"a.jsonl", `{"context":"x","question":"y","answers":7}`, "a.jsonl:1: "},
		{"a.json", "{\n\n\"data\": [}", "a.json:3: "},
		{"a.json", `{"rows":[]}`, `has no "data"`},
		{"a.json", `{"data":[{"paragraphs":[{"qas":[{"question":"q","answers":[]}]}]}]}`, "data[0].paragraphs[0].qas[0]: no context"},
		{"a.csv", "x", "not a format"},
		{"a.jsonl", "", "holds no examples"},
		{"a.jsonl.gz", "", "holds no examples"},
	} {
		_, err := ReadSQuAD(write(t, c.name, c.text), "", 0)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	many := strings.Repeat("{oops\n", 50)
	if _, err := ReadSQuAD(write(t, "m.jsonl", many), "", 0); err == nil || !strings.Contains(err.Error(), "and 30 more") {
		t.Errorf("many faults: %v", err)
	}
	bad := write(t, "bad.parquet", "PAR1 this is not parquet PAR1")
	if _, err := ReadSQuAD(bad, "", 0); err == nil || !strings.Contains(err.Error(), "bad.parquet") {
		t.Errorf("damaged parquet: %v", err)
	}
	torn := write(t, "torn.jsonl", lined)
	if err := os.Rename(torn, torn+".gz"); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSQuAD(torn+".gz", "", 0); err == nil || !strings.Contains(err.Error(), "torn.jsonl.gz") {
		t.Errorf("not gzip: %v", err)
	}
}

func TestBuild(t *testing.T) {
	c := configs.Default().Dataset
	c.PathOrID = write(t, "a.jsonl", strings.Split(lined, "\n")[0]+"\n"+strings.Replace(strings.Split(lined, "\n")[0], "C1", "a b c d e f", 1))
	for rule, want := range map[string]string{"error": "11 tokens, longer than seq_length 7", "skip": "1 samples, 1 skipped, 0 cut", "truncate": "nothing in it is trained on"} {
		c.SeqLength, c.OnLong = 7, rule
		d, err := Build(c, words{}, 100, 50)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%d samples, %d skipped, %d cut", len(d.Samples), d.Skipped, d.Truncated)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", rule, got, want)
		}
	}
	c.Kind = "chat"
	if _, err := Build(c, words{}, 100, 50); err == nil || !strings.Contains(err.Error(), "dataset.kind") {
		t.Errorf("kind chat: %v", err)
	}
	c = configs.Dataset{Kind: "mock", SeqLength: 5, NumSamples: 3}
	d, err := Build(c, words{}, 100, 50)
	if err != nil || len(d.Samples) != 3 || d.Samples[0].Valid() != 5 || len(d.Samples[0].IDs) != 5 {
		t.Errorf("mock: %+v, %v", d, err)
	}
}

// TestDemo encodes the demo's data: it must load whole.
func TestDemo(t *testing.T) {
	for split, least := range map[string]int{"train": 240, "validation": 40} {
		got, err := SQuAD(DemoSQuAD, split, 0)
		if err != nil || len(got) < least {
			t.Errorf("%s: %d examples, %v", split, len(got), err)
		}
	}
	if _, err := SQuAD(DemoSQuAD, "test", 0); err == nil {
		t.Error("a split that is not there")
	}
}

// TestDeal: whatever the number of ranks, a step's ranks together see the same samples, each once an epoch.
func TestDeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "samples")
		d := &Dataset{}
		for i := range n {
			d.Samples = append(d.Samples, Sample{IDs: []int32{int32(i)}, Labels: []int32{1}})
		}
		dp := rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "dp")
		micro := rapid.IntRange(1, 3).Draw(t, "micro")
		acc := rapid.IntRange(1, 3).Draw(t, "acc")
		shuffle := rapid.Bool().Draw(t, "shuffle")
		steps := func(o LoaderOptions) [][]int {
			var out [][]int
			for s := range o.StepsPerEpoch(n) {
				var seen []int
				micros := -1
				for o.DPRank = range o.DPSize {
					batches := d.deal(o, order(7, 1, n, shuffle), s)
					if micros >= 0 && len(batches) != micros {
						t.Fatalf("ranks have %d and %d micro-batches", micros, len(batches))
					}
					micros = len(batches)
					for _, b := range batches {
						if b.Rows != o.MicroBatch || b.Valid != len(b.Samples) {
							t.Fatalf("batch %+v", b)
						}
						seen = append(seen, b.Samples...)
					}
				}
				slices.Sort(seen)
				out = append(out, seen)
			}
			return out
		}
		many := steps(LoaderOptions{MicroBatch: micro, GradAcc: acc, DPSize: dp})
		one := steps(LoaderOptions{MicroBatch: micro * dp, GradAcc: acc, DPSize: 1})
		if fmt.Sprint(many) != fmt.Sprint(one) {
			t.Fatalf("%d ranks see %v, one sees %v", dp, many, one)
		}
		all := slices.Concat(one...)
		slices.Sort(all)
		if !slices.Equal(all, order(0, 0, n, false)) {
			t.Fatalf("an epoch sees %v", all)
		}
	})
}

func mockSet(n int) *Dataset {
	d := &Dataset{}
	for i := range n {
		d.Samples = append(d.Samples, Sample{IDs: make([]int32, i%70+1), Labels: make([]int32, i%70+1)})
	}
	return d
}

func TestLoaderResumes(t *testing.T) {
	d := mockSet(23)
	o := LoaderOptions{Seed: 5, Shuffle: true, Epochs: 3, MicroBatch: 2, GradAcc: 2, DPSize: 1}
	run := func(start int) (out []string) {
		o.Start = start
		l, err := d.NewLoader(o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for {
			s, err := l.Next(context.Background())
			if errors.Is(err, io.EOF) {
				return out
			} else if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprint(s.Step, " ", s.Epoch, " ", s.InEpoch, " ", s.Samples, " ", s.Last)
			for _, m := range s.Micro {
				line += fmt.Sprint(" ", m.Samples, m.Seq)
			}
			out = append(out, line)
		}
	}
	whole := run(0)
	if len(whole) != 18 {
		t.Fatalf("%d steps, want 18", len(whole))
	}
	if rest := run(7); !slices.Equal(rest, whole[7:]) {
		t.Errorf("resumed at 7:\n%s\nwant\n%s", strings.Join(rest, "\n"), strings.Join(whole[7:], "\n"))
	}
	o.MaxSteps = 5
	if got := run(0); len(got) != 5 || got[:4][3] != whole[3] || !strings.Contains(got[4], "true") {
		t.Errorf("max_steps: %v", got)
	}
	if fmt.Sprint(order(5, 0, 23, true)) == fmt.Sprint(order(5, 1, 23, true)) {
		t.Error("two epochs have the same order")
	}
}

func TestLoaderEnds(t *testing.T) {
	l, err := mockSet(100).NewLoader(LoaderOptions{Epochs: 1000, MicroBatch: 1, GradAcc: 1, DPSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 5 {
		if _, err = l.Next(ctx); err != nil {
			break
		}
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	l.Close() // goleak sees whether its goroutine ended
	if _, err := mockSet(1).NewLoader(LoaderOptions{}); err == nil {
		t.Error("a loader of nothing")
	}
}

func TestBucket(t *testing.T) {
	for n, want := range map[int]int{1: 64, 64: 64, 65: 128, 512: 512, 513: 640, 1025: 1280, 4097: 4608, 0: 64} {
		if got := bucket(n); got != want {
			t.Errorf("bucket(%d) = %d, want %d", n, got, want)
		}
	}
	// A set of one length needs no padding.
	d := &Dataset{Samples: []Sample{{IDs: make([]int32, 100), Labels: make([]int32, 100)}}}
	if b := d.Batches(1, 0)[0]; b.Seq != 100 {
		t.Errorf("padded to %d", b.Seq)
	}
}

func FuzzParseSQuAD(f *testing.F) {
	f.Add(nested, "json")
	f.Add(lined, "jsonl")
	f.Add(`[{"context":"a","question":"b","answers":["c"]}]`, "json")
	f.Fuzz(func(t *testing.T, text, kind string) {
		got, faults := ParseSQuAD("f", kind, strings.NewReader(text))
		for _, e := range got {
			if e.Origin == "" {
				t.Errorf("an example without origin: %+v", e)
			}
		}
		for _, f := range faults {
			if f == nil || f.Error() == "" {
				t.Error("an empty fault")
			}
		}
	})
}
