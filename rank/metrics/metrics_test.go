package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gorun/tools/skip"
)

// newLogger makes a Logger that is closed with the test.
func newLogger(t *testing.T, o Options) *Logger {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(nil); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// read returns a file's text.
func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStepLine(t *testing.T) {
	full := Record{Step: 120, Epoch: 1, Loss: 1.2345, GradNorm: 0.51, LR: 1e-5, NumLabelTokens: 640, TokS: 15571.3, StepTimeS: 0.82, MFU: 0.41, MemGiB: 43.1}
	for _, c := range []struct {
		name string
		got  string
		want string
	}{
		{"all", stepLine(full, 1000, "gpu", 12*time.Minute), "step 120/1000 | loss 1.2345 | grad_norm 0.51 | lr 1e-05 | tok/s/gpu 15571 | mfu 41% | mem 43.1 GiB | eta 12m"},
		{"little known", stepLine(Record{Step: 3, Loss: math.NaN(), GradNorm: math.Inf(1), LR: 3e-4, TokS: 4.26}, 0, "", -1), "step 3 | loss NaN | grad_norm +Inf | lr 0.0003 | tok/s 4.3"},
		{"tiny", stepLine(Record{Step: 3, Loss: 0.0000123, GradNorm: 0.00456, TokS: 10}, 0, "", -1), "step 3 | loss 1.2e-05 | grad_norm 0.0046 | lr 0 | tok/s 10"},
		{"validation", validationText(ValidationRecord{Step: 20, Epoch: 1, Set: "default", ValLoss: 0.2469, NumLabelTokens: 99, TimeS: 3.21}, "default"), "[val] step 20 | epoch 1 | loss 0.2469 | 99 label tokens | 3.2s"},
		{"named validation", validationText(ValidationRecord{Set: "long", TimeS: 200}, "default"), "[val long] step 0 | epoch 0 | loss 0.0000 | 0 label tokens | 3m"},
		{"bar", barText(full, "gpu", 45*time.Second), "loss 1.2345 | 15571 tok/s/gpu | eta 45s"},
		{"hours", short(3*time.Hour + 5*time.Minute), "3h05m"},
		{"days", short(52 * time.Hour), "2d04h"},
	} {
		if c.got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, c.got, c.want)
		}
	}
}

func TestPaceForgetsTheCompilingStep(t *testing.T) {
	var p pace
	if got := p.eta(10); got != -1 {
		t.Errorf("eta before any step = %v, want -1", got)
	}
	p.add(1, 60)
	if got := p.eta(11); got != 10*time.Minute {
		t.Errorf("eta after the first step = %v, want 10m", got)
	}
	p.add(2, 1)
	p.add(3, 1)
	p.add(4, math.NaN())
	if got := p.eta(14); got != 10*time.Second {
		t.Errorf("eta = %v, want 10s", got)
	}
	if got := p.eta(0); got != -1 {
		t.Errorf("eta of an unknown end = %v, want -1", got)
	}
	if got := p.eta(3); got != 0 {
		t.Errorf("eta behind the end = %v, want 0", got)
	}
}

func TestPlainAndFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "logs")
	var out bytes.Buffer
	l := newLogger(t, Options{Dir: dir, JSONL: true, TotalSteps: 5, EverySteps: 2, Output: &out, Device: "gpu", DefaultSet: "default"})
	for step := 1; step <= 5; step++ {
		loss := 1 / float64(step)
		if step == 4 {
			loss = math.NaN()
		}
		if err := l.Step(Record{Step: step, Loss: loss, GradNorm: 0.5, LR: 1e-5, NumLabelTokens: 7, TokS: 100, StepTimeS: 1, MemGiB: 1.5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Print("hello"); err != nil {
		t.Fatal(err)
	}
	if err := l.Validation(ValidationRecord{Step: 5, Set: "default", ValLoss: 0.25, NumLabelTokens: 9, TimeS: 1.5}); err != nil {
		t.Fatal(err)
	}
	wantOut := `step 1/5 | loss 1.0000 | grad_norm 0.50 | lr 1e-05 | tok/s/gpu 100 | mem 1.5 GiB | eta 4s
step 2/5 | loss 0.5000 | grad_norm 0.50 | lr 1e-05 | tok/s/gpu 100 | mem 1.5 GiB | eta 3s
step 4/5 | loss NaN | grad_norm 0.50 | lr 1e-05 | tok/s/gpu 100 | mem 1.5 GiB | eta 1s
step 5/5 | loss 0.2000 | grad_norm 0.50 | lr 1e-05 | tok/s/gpu 100 | mem 1.5 GiB | eta 0s
hello
[val] step 5 | epoch 0 | loss 0.2500 | 9 label tokens | 1.5s
`
	if out.String() != wantOut {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), wantOut)
	}
	// Before Close: each line is flushed as it is written.
	wantTraining := `{"step":1,"epoch":0,"loss":1,"grad_norm":0.5,"lr":1e-05,"num_label_tokens":7,"tok_s":100,"step_time_s":1,"mem_gib":1.5}
{"step":2,"epoch":0,"loss":0.5,"grad_norm":0.5,"lr":1e-05,"num_label_tokens":7,"tok_s":100,"step_time_s":1,"mem_gib":1.5}
{"step":4,"epoch":0,"loss":null,"grad_norm":0.5,"lr":1e-05,"num_label_tokens":7,"tok_s":100,"step_time_s":1,"mem_gib":1.5}
{"step":5,"epoch":0,"loss":0.2,"grad_norm":0.5,"lr":1e-05,"num_label_tokens":7,"tok_s":100,"step_time_s":1,"mem_gib":1.5}
`
	if got := read(t, dir, TrainingFile); got != wantTraining {
		t.Errorf("training.jsonl\n%s\nwant\n%s", got, wantTraining)
	}
	wantValidation := `{"step":5,"epoch":0,"set":"default","val_loss":0.25,"num_label_tokens":9,"time_s":1.5}` + "\n"
	if got := read(t, dir, ValidationFile); got != wantValidation {
		t.Errorf("validation.jsonl\n%s\nwant\n%s", got, wantValidation)
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	l, err := New(Options{TotalSteps: 4, ResumeStep: 1, Output: &out, Bar: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Step(Record{Step: 2, Loss: 0.5, TokS: 100, StepTimeS: 3}); err != nil {
		t.Fatal(err)
	}
	if err := l.Validation(ValidationRecord{Step: 2, Set: "s", ValLoss: 1}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(nil); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{"(1/4)", "loss 0.5000 | 100 tok/s | eta 6s", "(2/4)", "[val s] step 2 | epoch 0 | loss 1.0000"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	// The line of text starts on a cleared line and has none of the bar in it; the bar is below it again.
	if i := strings.Index(got, "[val s]"); i < 1 || got[i-1] != '\r' || !strings.Contains(got[i:], "(2/4)") {
		t.Errorf("the validation's line is not clear of the bar: %q", got)
	}
	if strings.Contains(got, "step 2/4") || !strings.HasSuffix(got, "\n") {
		t.Errorf("plain lines beside the bar, or its line left open: %q", got)
	}
}

func TestNoOutput(t *testing.T) {
	l := newLogger(t, Options{Bar: true, TotalSteps: 2})
	if err := errors.Join(l.Step(Record{Step: 1}), l.Validation(ValidationRecord{Step: 1})); err != nil {
		t.Fatal(err)
	}
	if err := l.Print("nobody reads this"); err != nil {
		t.Error(err)
	}
}

// steps writes records of the given steps into both files.
func steps(t *testing.T, dir string, resume, from, to int) {
	t.Helper()
	l, err := New(Options{Dir: dir, JSONL: true, ResumeStep: resume})
	if err != nil {
		t.Fatal(err)
	}
	for s := from; s <= to; s++ {
		if err := errors.Join(l.Step(Record{Step: s, Loss: float64(resume)}), l.Validation(ValidationRecord{Step: s})); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.Close(nil), l.Close(nil)); err != nil {
		t.Fatal(err)
	}
}

// recorded lists "step:loss" of each line of training.jsonl.
func recorded(t *testing.T, path string) string {
	t.Helper()
	var list []string
	for line := range strings.Lines(read(t, path)) {
		var r struct {
			Step int
			Loss float64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, fmt.Sprintf("%d:%v", r.Step, r.Loss))
	}
	return strings.Join(list, " ")
}

func TestResumeCutsLaterSteps(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, TrainingFile)
	steps(t, dir, 0, 1, 6)
	// A crash has torn the last line.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(`{"step":7,"los`)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	steps(t, dir, 4, 5, 5)
	if got, want := recorded(t, path), "1:0 2:0 3:0 4:0 5:4"; got != want {
		t.Errorf("training.jsonl has %s, want %s", got, want)
	}
	if got, want := recorded(t, filepath.Join(dir, ValidationFile)), "1:0 2:0 3:0 4:0 5:0"; got != want {
		t.Errorf("validation.jsonl has %s, want %s", got, want)
	}
	// A new run in the same folder keeps what was there.
	steps(t, dir, 0, 1, 2)
	steps(t, dir, 0, 1, 1)
	for name, want := range map[string]string{TrainingFile: "1:0", TrainingFile + ".1": "1:0 2:0 3:0 4:0 5:4", TrainingFile + ".2": "1:0 2:0"} {
		if got := recorded(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
	}
	// Resuming without an older log starts one.
	steps(t, filepath.Join(dir, "new"), 8, 9, 9)
	if got := recorded(t, filepath.Join(dir, "new", TrainingFile)); got != "9:8" {
		t.Errorf("a log that starts late has %s", got)
	}
}

func TestForeignFilesAreNotCut(t *testing.T) {
	for text, want := range map[string]string{
		"{\"step\":1}\nnotes\n{\"step\":9}\n": "line 2 is no record of a step",
		"{\"stop\":1}\n":                      "line 1 is no record of a step",
		"{\"step\":9}\n{\"step\":1}\n":        "line 2: step 1 comes after later ones",
		strings.Repeat("x", maxLine+1) + "\n": "line 1: ",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, TrainingFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := New(Options{Dir: dir, JSONL: true, ResumeStep: 3})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("New over %.40q = %v, want within it %q and the path", text, err, want)
		}
		if read(t, path) != text {
			t.Errorf("%.40q was changed", text)
		}
	}
}

func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		skip.Because(t, "there is no /dev/full: "+err.Error())
	}
	dir := t.TempDir()
	for _, name := range []string{TrainingFile, ValidationFile} {
		if err := os.Symlink("/dev/full", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l := newLogger(t, Options{Dir: dir, JSONL: true})
	for name, err := range map[string]error{TrainingFile: l.Step(Record{Step: 1}), ValidationFile: l.Validation(ValidationRecord{Step: 1})} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("%s: %v, want ENOSPC with the path", name, err)
		}
	}
}

// TestHalfALineIsTakenBack fills a file up to a limit of the process, as a disk does in the middle of a
// line, and then goes on.
func TestHalfALineIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	l := newLogger(t, Options{Dir: dir, JSONL: true})
	if err := l.Step(Record{Step: 1}); err != nil {
		t.Fatal(err)
	}
	whole := read(t, dir, TrainingFile)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		skip.Because(t, "file sizes cannot be limited: "+err.Error())
	}
	small := syscall.Rlimit{Cur: uint64(len(whole)) + 5, Max: old.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		skip.Because(t, "file sizes cannot be limited: "+err.Error())
	}
	err := l.Step(Record{Step: 2})
	if restore := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); restore != nil {
		t.Fatal(restore)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Step = %v, want EFBIG", err)
	}
	if got := read(t, dir, TrainingFile); got != whole {
		t.Errorf("the file holds %q, want whole lines only", got)
	}
	if err := l.Step(Record{Step: 3}); err != nil {
		t.Fatal(err)
	}
	if got := recorded(t, filepath.Join(dir, TrainingFile)); got != "1:0 3:0" {
		t.Errorf("the file has steps %s, want 1 and 3", got)
	}
}

func TestNewErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Dir: filepath.Join(file, "logs"), JSONL: true}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("New below a file = %v, want an error that names it", err)
	}
	if _, err := New(Options{ResumeStep: -1}); err == nil {
		t.Error("New took a negative step")
	}
}

func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	l := newLogger(t, Options{Dir: dir, JSONL: true, Output: &out, TotalSteps: 50, Bar: true})
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for s := range 10 {
				if err := l.Step(Record{Step: 10*i + s + 1}); err != nil {
					t.Error(err)
				}
				if err := l.Print("line"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := strings.Count(read(t, dir, TrainingFile), "\n"); got != 40 {
		t.Errorf("%d lines, want 40", got)
	}
}

// FuzzEndOf: no older log panics the reader, and what it keeps are whole lines.
func FuzzEndOf(f *testing.F) {
	f.Add([]byte("{\"step\":1}\n{\"step\":2}\n{\"st"), 1)
	f.Add([]byte("\n\n"), 0)
	f.Fuzz(func(t *testing.T, data []byte, resume int) {
		end, err := endOf(bytes.NewReader(data), resume)
		if err != nil {
			return
		}
		if end < 0 || end > int64(len(data)) || (end > 0 && data[end-1] != '\n') {
			t.Fatalf("end %d of %q", end, data)
		}
	})
}
