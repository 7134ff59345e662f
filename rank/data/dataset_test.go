package data

import (
	"fmt"
	"strings"
	"testing"

	"gorun/configs"
)

func TestBuild(t *testing.T) {
	first := strings.Split(lined, "\n")[0]
	longer := strings.Replace(first, "C1", "a b c d e f", 1)
	describe := func(d *Dataset, err error) string {
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d samples, %d skipped, %d cut: %s", d.Len(), d.Skipped, d.Truncated, strings.Join(d.Reasons, "; "))
	}
	for _, c := range []struct {
		name, data      string
		onLong, onBad   string
		seq, limit      int
		compat, wantEnd string
	}{
		{"too long", first + "\n" + longer, "error", "error", 7, 0, "none", "a.jsonl:2: 11 tokens, longer than seq_length 7: raise dataset.seq_length"},
		{"skipped", first + "\n" + longer, "skip", "error", 7, 0, "none", "1 samples, 1 skipped, 0 cut: "},
		{"cut before the answer", first + "\n" + longer, "truncate", "error", 7, 0, "none", "a.jsonl:2: cut from 11 to 7 tokens, and nothing in these is trained on"},
		{"cut in the answer", first + "\n" + longer, "truncate", "error", 10, 0, "none", "2 samples, 0 skipped, 1 cut: "},
		{"cut and left out", first + "\n" + longer, "truncate", "skip", 7, 0, "none", "1 samples, 1 skipped, 0 cut: "},
		{"unanswerable", lined, "error", "error", 0, 0, "none", "a.jsonl:3: has no answer"},
		{"unanswerable skipped", lined, "error", "skip", 0, 0, "none", "1 samples, 1 skipped, 0 cut: "},
		{"unanswerable as AutoModel", lined, "error", "error", 0, 0, "automodel", "2 samples, 0 skipped, 0 cut: "},
		{"unreadable", first + "\n{oops\n{}\n", "error", "error", 0, 0, "none", "a.jsonl:2: not a JSON object"},
		{"unreadable skipped", first + "\n{oops\n{}\n", "error", "skip", 0, 0, "none", "1 samples, 2 skipped, 0 cut: "},
		{"limit counts what is skipped", "{oops\n" + first + "\n" + first, "error", "skip", 0, 2, "none", "1 samples, 1 skipped, 0 cut: "},
		{"all skipped", "{oops\n{}", "error", "skip", 0, 0, "none", "no sample is left (2 left out: "},
		{"nothing", "", "error", "skip", 0, 0, "none", "holds no samples"},
	} {
		cfg := configs.Default().Dataset
		cfg.PathOrID, cfg.SeqLength, cfg.OnLong, cfg.OnBad, cfg.LimitDatasetSamples, cfg.Compat = write(t, "a.jsonl", c.data), c.seq, c.onLong, c.onBad, c.limit, c.compat
		if got := describe(built(t, cfg, words{}, 100, 50)); !strings.Contains(got, c.wantEnd) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.wantEnd)
		}
	}
	for _, c := range []struct {
		set  configs.Dataset
		want string
	}{
		{configs.Dataset{Kind: "poem"}, "dataset.kind"},
		{configs.Dataset{Kind: "chat"}, "no chat template"},
		{configs.Dataset{Kind: "squad", ChatTemplate: true}, "dataset.chat_template"},
		{configs.Dataset{Kind: "mock", SeqLength: 5, NumSamples: 3}, "dataset.vocab_size"},
	} {
		_, err := Build(t.Context(), c.set, words{}, 100, 0)
		wantError(t, c.set.Kind, err, c.want)
	}
	_, err := Build(t.Context(), configs.Dataset{Kind: "squad"}, words{}, 0, 0)
	wantError(t, "no length", err, "dataset.seq_length")
}

// TestBuildFaults: the first 20 faults are told at once, in order, whatever the number of goroutines.
func TestBuildFaults(t *testing.T) {
	cfg := configs.Default().Dataset
	var long strings.Builder
	for i := range 30 {
		fmt.Fprintf(&long, `{"context":"c","question":"q","answers":["%s"]}`+"\n", strings.Repeat("a ", 20+i))
	}
	cfg.PathOrID = write(t, "a.jsonl", long.String())
	cfg.SeqLength = 10
	var all []string
	for _, cfg.NumWorkers = range []int{0, 1, 3, 64} {
		_, err := Build(t.Context(), cfg, words{}, 100, 50)
		wantError(t, "faults", err, "a.jsonl:1: ", "a.jsonl:20: ", "and 10 more")
		if all = append(all, fmt.Sprint(err)); all[0] != fmt.Sprint(err) {
			t.Errorf("%d goroutines: %v", cfg.NumWorkers, err)
		}
	}
	if strings.Contains(all[0], "a.jsonl:21:") || strings.Index(all[0], "a.jsonl:2:") > strings.Index(all[0], "a.jsonl:19:") {
		t.Errorf("not the first 20 in order: %s", all[0])
	}
}

func TestBuildOrder(t *testing.T) {
	cfg := configs.Default().Dataset
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, `{"context":"%s","question":"q","answers":["a"]}`+"\n", strings.Repeat("x", i+1))
	}
	cfg.PathOrID = write(t, "a.jsonl", text.String())
	for _, cfg.NumWorkers = range []int{0, 1, 7, 200} {
		d, err := built(t, cfg, words{}, 100, 200)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range samplesOf(t, d) {
			if s.IDs[1] != int32(12+i) || !strings.HasSuffix(s.Origin, fmt.Sprintf(":%d", i+1)) {
				t.Fatalf("%d goroutines: sample %d is %+v", cfg.NumWorkers, i, s)
			}
		}
	}
}

func TestMock(t *testing.T) {
	c := configs.Dataset{Kind: "mock", SeqLength: 5, NumSamples: 3, VocabSize: 4}
	a, err := built(t, c, words{}, 100, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samplesOf(t, a) {
		if len(s.IDs) != 5 || s.Valid() != 5 {
			t.Errorf("got %+v", s)
		}
		for i, id := range s.IDs {
			if id < 0 || id >= 4 || i > 0 && s.Labels[i-1] != id {
				t.Errorf("got %+v", s)
			}
		}
	}
	b, err := built(t, c, words{}, 100, 50)
	if err != nil || fmt.Sprint(samplesOf(t, a)) != fmt.Sprint(samplesOf(t, b)) || a.Stats() != (Stats{3, 15, 15, 5}) {
		t.Errorf("twice the same: %+v, %+v, %v", a.Stats(), b, err)
	}
}
