package metrics

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWandbGolden: the bytes are those of W&B's own DataStore and messages.
func TestWandbGolden(t *testing.T) {
	start := clock().Add(-250 * time.Millisecond)
	run, err := runRecord(WandbOptions{Project: "p", Entity: "team", Name: "first"}, "abcdefgh", "h", start, map[string]any{"optimizer": map[string]any{"lr": 1e-5}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run.wandb")
	w := &wandb{now: clock, from: start}
	if w.log, err = openLog(path, func(io.Reader) (int64, error) { return 0, nil }); err != nil {
		t.Fatal(err)
	}
	errs := []error{w.log.append([]byte(wandbMagic)), w.write(recordHeader, headerRecord("1.2.3")), w.write(recordRun, run)}
	for _, m := range metricRecords() {
		errs = append(errs, w.write(recordMetric, m))
	}
	errs = append(errs, w.printed("hello"), w.step(goldenStep), w.validated(goldenValidation), w.close(errors.New("lost")))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, path), read(t, "testdata", "run.wandb"); got != want {
		t.Errorf("wrote\n%q\nwant\n%q", got, want)
	}
}

// TestWandbBlocks: records of all sizes lie in blocks as DataStore puts them, and are read back.
func TestWandbBlocks(t *testing.T) {
	var golden struct {
		Sizes  []int
		SHA256 string
	}
	if err := json.Unmarshal([]byte(read(t, "testdata", "blocks.json")), &golden); err != nil {
		t.Fatal(err)
	}
	file := []byte(wandbMagic)
	var records [][]byte
	for i, size := range golden.Sizes {
		r := make([]byte, size)
		for n := range r {
			r[n] = byte((i*31 + n) % 251)
		}
		records = append(records, r)
		file = append(file, wandbChunks(int64(len(file)), r)...)
	}
	if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != golden.SHA256 {
		t.Errorf("the file of records of %v bytes is another", golden.Sizes)
	}
	n := 0
	err := scanWandb(bytes.NewReader(file), func(got []byte, _ int64) error {
		if n == len(records) || !bytes.Equal(got, records[n]) {
			t.Errorf("record %d is read as %d other bytes", n, len(got))
		}
		n++
		return nil
	})
	if err != nil || n != len(records) {
		t.Errorf("%d records read, %v", n, err)
	}
}

// wandbRows lists what a folder's only or newest run holds: steps of its rows, X for its end.
func wandbRows(t *testing.T, dir string) string {
	t.Helper()
	path, err := newestWandb(filepath.Join(dir, WandbDir))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	last := 0
	err = scanWandb(strings.NewReader(read(t, path)), func(data []byte, _ int64) error {
		num, kind, content, err := splitRecord(data)
		if err != nil || num != last+1 {
			t.Errorf("record %d after %d: %v", num, last, err)
		}
		last = num
		switch kind {
		case recordHistory:
			step, _, err := historyPlace(content)
			if err != nil {
				return err
			}
			list = append(list, fmt.Sprint(step))
		case recordExit:
			list = append(list, "X")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

// TestWandbResume: a run that resumes goes on in the same file, each step once, ended once; W&B's marks of an upload
// go. A new run has a folder of its own.
func TestWandbResume(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Wandb: &WandbOptions{Project: "p", Recipe: "[optimizer]\nlr = 1e-5\n"}}
	record(t, o, 1, 6)
	path, err := newestWandb(filepath.Join(dir, WandbDir))
	if err != nil {
		t.Fatal(err)
	}
	tear(t, path, []byte{1, 2, 3})
	marks := []string{path + ".synced", path + ".syncstate"}
	for _, mark := range marks {
		if err := os.WriteFile(mark, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.ResumeStep = 4
	record(t, o, 5, 7)
	if got := wandbRows(t, dir); got != "1 2 3 4 5 6 7 X" {
		t.Errorf("rows %s", got)
	}
	for _, mark := range marks {
		if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", mark, err)
		}
	}
	o.ResumeStep = 0
	record(t, o, 1, 1)
	if runs, err := os.ReadDir(filepath.Join(dir, WandbDir)); err != nil || len(runs) != 2 {
		t.Errorf("%d runs, %v, want 2", len(runs), err)
	}
}

// TestForeignWandb: files that are not ours are left as they are.
func TestForeignWandb(t *testing.T) {
	chunk := wandbChunks(int64(len(wandbMagic)), []byte{recordNum << 3, 1})
	var theirs message
	var info, header message
	info.str(versionProducer, "0.31.0")
	header.bytes(headerVersion, info)
	theirs.bytes(recordHeader, header)
	damaged := bytes.Clone(chunk)
	damaged[0] ^= 1
	for text, want := range map[string]string{
		"not a log":                  "not a .wandb file",
		"":                           "no records",
		wandbMagic + string(damaged): "damaged",
		wandbMagic + string(wandbChunks(7, theirs)):    "another program",
		wandbMagic + string(wandbChunks(7, []byte{7})): "not a protocol buffer",
	} {
		dir := filepath.Join(t.TempDir(), "offline-run-1-x")
		path := filepath.Join(dir, "run-x.wandb")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		_, err := openWandb(filepath.Dir(dir), WandbOptions{Project: "p"}, 3, clock)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want %q and the path", text, err, want)
		}
		if read(t, path) != text {
			t.Errorf("%q was changed", text)
		}
	}
}

// FuzzWandb: no file panics the reader, and what it keeps is within the file.
func FuzzWandb(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "run.wandb"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden, 5)
	f.Add([]byte(wandbMagic), 0)
	f.Fuzz(func(t *testing.T, data []byte, resume int) {
		past, err := readWandbPast(bytes.NewReader(data), resume)
		if err == nil && (past.end < 0 || past.end > int64(len(data))) {
			t.Fatalf("end %d of %d bytes", past.end, len(data))
		}
	})
}
