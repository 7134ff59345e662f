package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock stands still a quarter of a second after the start of the golden runs.
func clock() time.Time { return time.UnixMilli(1795582428250) }

// goldenStep and goldenValidation are what tools/oracle/metrics.py writes.
var (
	goldenStep       = Record{Step: 5, Epoch: 1, Loss: 1.5, GradNorm: 0.25, LR: 1e-5, NumLabelTokens: 7, TokS: 120.5, StepTimeS: 2, MemGiB: 3.5}
	goldenValidation = ValidationRecord{Step: 5, Epoch: 1, Set: "default", ValLoss: math.NaN(), NumLabelTokens: 7}
)

// TestTensorboardGolden: the bytes are those of TensorBoard's own writer.
func TestTensorboardGolden(t *testing.T) {
	dir := t.TempDir()
	tb, err := openTensorboard(dir, 4, clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tb.step(goldenStep), tb.validated(goldenValidation), tb.close(nil)); err != nil {
		t.Fatal(err)
	}
	files := eventFiles(t, dir)
	if len(files) != 1 {
		t.Fatalf("files %v", files)
	}
	if got, want := read(t, files[0]), read(t, "testdata", "events.tfevents"); got != want {
		t.Errorf("wrote\n%q\nwant\n%q", got, want)
	}
}

func eventFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, eventPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// eventSteps lists the steps of all events with scalars, file by file.
func eventSteps(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	for _, path := range eventFiles(t, dir) {
		err := scanTFRecords(strings.NewReader(read(t, path)), func(data []byte, _ int64) error {
			step, summary := uint64(0), false
			err := eachField(data, func(field fieldNumber, v uint64, _ []byte) {
				switch field {
				case eventStep:
					step = v
				case eventSummary:
					summary = true
				}
			})
			if summary {
				list = append(list, fmt.Sprint(step))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, "|")
	}
	return strings.Join(list, " ")
}

// record makes a run of steps from to to through a Logger.
func record(t *testing.T, o Options, from, to int) {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for s := from; s <= to; s++ {
		if err := l.Step(Record{Step: s, Loss: 1 / float64(s)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
}

// TestTensorboardResume: a run that resumes, torn file included, leaves each step once; a new run leaves the older
// one's folder beside its own.
func TestTensorboardResume(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, TensorboardDir)
	o := Options{Dir: dir, Tensorboard: true}
	record(t, o, 1, 6)
	tear(t, eventFiles(t, folder)[0], tfRecord([]byte("half"))[:9])
	o.ResumeStep = 4
	record(t, o, 5, 7)
	o.ResumeStep = 5
	record(t, o, 6, 6)
	if got, want := eventSteps(t, folder), "1 2 3 4 | 5 | 6 |"; got != want {
		t.Errorf("steps %s, want %s", got, want)
	}
	o.ResumeStep = 0
	record(t, o, 1, 1)
	if got := eventSteps(t, folder) + eventSteps(t, folder+".1"); got != "1 |1 2 3 4 | 5 | 6 |" {
		t.Errorf("steps of the new and the older run: %s", got)
	}
}

// tear appends half a record, as a crash does.
func tear(t *testing.T, path string, half []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(half)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestForeignEvents: files that are not as we write them are left as they are.
func TestForeignEvents(t *testing.T) {
	good := tfRecord([]byte{eventStep << 3, 1})
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for _, c := range []struct {
		name, text, want string
	}{
		{eventPrefix + "1.h", "no events at all", "damaged length"},
		{eventPrefix + "1.h", string(damaged), "record at byte 0 is damaged"},
		{eventPrefix + "1.h", string(tfRecord([]byte{0xff})), "not a protocol buffer"},
		{eventPrefix + "1.h", string(tfRecord([]byte{eventStep << 3, 9})) + string(good), "comes after later ones"},
		{eventPrefix + "x", "", "not named as an event file"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openTensorboard(dir, 3, clock)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q and the path", c.text, err, c.want)
		}
		if read(t, path) != c.text {
			t.Errorf("%q was changed", c.text)
		}
	}
}

// FuzzEvents: no file panics the reader, and what it keeps is within the file.
func FuzzEvents(f *testing.F) {
	f.Add(tfRecord([]byte{eventStep << 3, 1}), 2)
	f.Add([]byte{1, 2, 3}, 0)
	f.Fuzz(func(t *testing.T, data []byte, resume int) {
		if end, err := endOfEvents(bytes.NewReader(data), resume); err == nil && (end < 0 || end > int64(len(data))) {
			t.Fatalf("end %d of %d bytes", end, len(data))
		}
	})
}
