package trace

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"gorun/tools/golden"
)

// recorded is what jax-cuda13-pjrt 0.11.2 recorded of training on an H100, cut to a few events.
func recorded(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/h100.xspace")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecorded holds the summary of a real record, and what viewers are given of it, to golden files.
func TestRecorded(t *testing.T) {
	tr, err := Parse(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	var summary, chrome bytes.Buffer
	tr.Summarize(2).Print(&summary)
	if err := tr.WriteChrome(&chrome); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"summary.txt": summary.String(), "chrome.json": chrome.String()} {
		golden.File(t, "testdata/"+name, got)
	}
	var events []map[string]any
	if err := json.Unmarshal(chrome.Bytes(), &events); err != nil {
		t.Errorf("viewers cannot read it: %v", err)
	}
}

// TestSummarize: events that overlap are counted once for the time that the device works, and hosts not at all.
func TestSummarize(t *testing.T) {
	us := time.Microsecond
	tr := Trace{[]Line{
		{Owner: "/host:CPU", Events: []Event{{"run", 0, 100 * us}}},
		{Owner: "/device:GPU:0", Name: "Stream #1", Events: []Event{{"nvjet_a", 10 * us, 20 * us}, {"norm", 40 * us, 10 * us}}},
		{Owner: "/device:GPU:0", Name: "Stream #2", Events: []Event{{"MemcpyH2D", 25 * us, 10 * us}, {"cudnn_flash", 42 * us, 2 * us}, {"nvjet_a", 60 * us, 4 * us}}},
		{Owner: "/device:GPU:1", Name: "Stream #1", Events: []Event{{"norm", 0, 1000 * us}}},
	}}
	s := tr.Summarize(1)
	if s.Span != 54*us || s.Idle != 15*us || len(s.Gaps) != 2 || s.Gaps[0] != 10*us || s.Gaps[1] != 5*us {
		t.Errorf("span %s, idle %s, gaps %s", s.Span, s.Idle, s.Gaps)
	}
	if want := [kinds]time.Duration{products: 24 * us, attention: 2 * us, copies: 10 * us, others: 10 * us}; s.Kinds != want {
		t.Errorf("kinds %s, want %s", s.Kinds, want)
	}
	if want := (Total{"nvjet_a", 2, 24 * us}); s.Kernels[0] != want {
		t.Errorf("the longest is %v, want %v", s.Kernels[0], want)
	}
	var out strings.Builder
	(&Trace{}).Summarize(1).Print(&out)
	if !strings.Contains(out.String(), "nothing of a device") {
		t.Errorf("an empty trace: %q", out.String())
	}
	out.Reset()
	if err := (&Trace{}).WriteChrome(&out); err != nil || strings.TrimSpace(out.String()) != "[]" {
		t.Errorf("an empty trace: %q, %v", out.String(), err)
	}
}

// TestWhole: of 4 steps the two whole ones count, between which nothing is slow: not the first, before which nothing was queued,
// nor the wait after the last.
func TestWhole(t *testing.T) {
	var l Line
	l.Owner = "/device:GPU:0"
	for _, at := range []time.Duration{0, 200, 300, 400} {
		l.Events = append(l.Events, Event{"embed", at, 10}, Event{"norm", at + 10, 40}, Event{"norm", at + 60, 40})
	}
	l.Events = append(l.Events, Event{"MemcpyD2H", 900, 5})
	s := (&Trace{[]Line{l}}).Summarize(4)
	if s.Steps != 2 || s.Span != 200 || s.Idle != 20 || s.Kernels[0] != (Total{"norm", 4, 160}) {
		t.Errorf("%+v", s)
	}
	if s := (&Trace{[]Line{l}}).Summarize(2); s.Steps != 2 || s.Span != 905 {
		t.Errorf("two steps: %+v", s)
	}
}

// message writes fields of a message: numbers, or bytes.
func message(fields ...any) (b []byte) {
	for i := 0; i < len(fields); i += 2 {
		number := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
		}
	}
	return b
}

// TestParse: names may come after their events, fields of no interest are passed over, events begin at zero in order of
// time; what is broken is said with where.
func TestParse(t *testing.T) {
	name := message(1, 7, 2, message(1, 7, 2, "norm"))
	event := func(offset, took int) []byte { return message(1, 7, 2, offset, 3, took) }
	space := func(line []byte) []byte {
		return message(1, message(2, "/device:GPU:0", 3, line, 4, name), 9, "not known", 10, 5)
	}
	got, err := Parse(space(message(1, 14, 2, "Stream #14", 3, 1_000_000_000, 4, event(9_000_000, 2_000_000), 4, event(4_000_000, 1_500))))
	if err != nil {
		t.Fatal(err)
	}
	us := time.Microsecond
	if l := got.Lines[0]; !l.Device() || l.ID != 14 || l.Name != "Stream #14" || len(l.Events) != 2 || l.Events[0] != (Event{"norm", 0, 1}) || l.Events[1] != (Event{"norm", 5 * us, 2 * us}) {
		t.Errorf("got %+v", l)
	}
	for what, c := range map[string]struct {
		message []byte
		want    string
	}{
		"cut off":                {recorded(t)[:1000], "trace: "},
		"the profiler's errors":  {message(2, "no driver"), "the profiler says: no driver"},
		"an event without name":  {space(message(2, "Stream #1", 4, message(1, 8))), `plane "/device:GPU:0": line "Stream #1": event 8 has no name`},
		"a negative time":        {space(message(2, "Stream #1", 4, event(-5000, 0))), "begins at"},
		"a time before 1970":     {space(message(3, -1, 4, event(0, 0))), "before 1970"},
		"a time beyond all ages": {space(message(3, 1<<62, 4, event(1<<62, 1<<62))), ""},
	} {
		if _, err := Parse(c.message); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}

// FuzzParse: whatever a record is, it is read, summed up and written, or refused.
func FuzzParse(f *testing.F) {
	f.Add(recorded(f))
	f.Add(message(1, message(2, "/device:GPU:0", 3, message(3, 5, 4, message(1, 1, 2, 1000, 3, 1000)), 4, message(1, 1, 2, message(2, "x")))))
	f.Fuzz(func(t *testing.T, record []byte) {
		tr, err := Parse(record)
		if err != nil {
			return
		}
		var out bytes.Buffer
		s := tr.Summarize(3)
		s.Print(&out)
		if s.Idle < 0 || s.Idle > s.Span {
			t.Errorf("idle for %s of %s", s.Idle, s.Span)
		}
		if err := tr.WriteChrome(&out); err != nil {
			t.Error(err)
		}
	})
}
