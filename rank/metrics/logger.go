package metrics

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Options says where a Logger writes.
type Options struct {
	// Dir is the run's folder, for all files; it is made if it is not there. Empty = no files.
	Dir string
	// JSONL, Tensorboard and Wandb (nil = none) say which files there are.
	JSONL, Tensorboard bool
	Wandb              *WandbOptions
	// Prometheus is the HOST:PORT to serve metrics on; empty = none.
	Prometheus string
	// ResumeStep is the step that the run goes on from: later records are cut. 0 = a new run, which
	// sets older files aside.
	ResumeStep int
	// TotalSteps is the last step of the run; 0 = not known, and then there is no bar and no eta.
	TotalSteps int
	// EverySteps says how many steps there are between records; the first and the last are always
	// written. 0 = 1.
	EverySteps int
	// Output takes lines for people, or the bar if it is a terminal. nil = none (ranks other than 0).
	Output io.Writer
	// Bar forces the bar where Output is no terminal; Plain forces lines where it is one.
	Bar, Plain bool
	// Device names what TokS is counted per: "gpu" prints tok/s/gpu. Empty prints tok/s.
	Device string
	// DefaultSet is the validation set whose name goes without saying.
	DefaultSet string
}

// Logger writes how a run goes. Its methods may be called from several goroutines.
type Logger struct {
	options Options

	mu    sync.Mutex // over all below, and over writing
	files []sink     // take every EverySteps-th step
	live  *endpoint  // takes each; nil = none
	json  *jsonFiles // one of files; nil = none
	wandb *wandb     // one of files; nil = none
	bar   *progressbar.ProgressBar
	pace  pace
	first bool // no step written yet
}

// New opens the files and, on a terminal, draws the bar. Errors are those of the files, and name them.
func New(o Options) (*Logger, error) {
	if o.ResumeStep < 0 || o.TotalSteps < 0 || o.EverySteps < 0 {
		return nil, fmt.Errorf("metrics: ResumeStep %d, TotalSteps %d and EverySteps %d must not be negative", o.ResumeStep, o.TotalSteps, o.EverySteps)
	}
	o.EverySteps = max(o.EverySteps, 1)
	l := &Logger{options: o, first: true}
	if err := l.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("metrics: %w", err), l.Close(err))
	}
	if o.Output != nil && !o.Plain && o.TotalSteps > 0 && (o.Bar || isTerminal(o.Output)) {
		l.bar = newBar(o.Output, o.ResumeStep, o.TotalSteps)
	}
	return l, nil
}

// open opens what the options ask for. After an error some of it is open.
func (l *Logger) open() (err error) {
	o := l.options
	if o.Prometheus != "" {
		if l.live, err = openEndpoint(o.Prometheus); err != nil {
			return err
		}
	}
	if o.Dir == "" {
		return nil
	}
	if o.JSONL {
		if l.json, err = openJSON(o.Dir, o.ResumeStep); err != nil {
			return err
		}
		l.files = append(l.files, l.json)
	}
	if o.Tensorboard {
		t, err := openTensorboard(filepath.Join(o.Dir, TensorboardDir), o.ResumeStep, time.Now)
		if err != nil {
			return err
		}
		l.files = append(l.files, t)
	}
	if o.Wandb != nil {
		w, err := openWandb(filepath.Join(o.Dir, WandbDir), *o.Wandb, o.ResumeStep, time.Now)
		if err != nil {
			return err
		}
		l.wandb = w
		l.files = append(l.files, w)
	}
	return nil
}

// Step tells a finished step. The error is that of a file, such as a full disk; it then still ends with a whole record.
func (l *Logger) Step(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace.add(r.Step, r.StepTimeS)
	eta := l.pace.eta(l.options.TotalSteps)
	if l.bar != nil {
		l.bar.Describe(barText(r, l.options.Device, eta))
		_ = l.bar.Set(min(r.Step, l.options.TotalSteps)) // a terminal that is gone does not stop a run
	}
	var errs []error
	if l.live != nil {
		errs = append(errs, l.live.step(r))
	}
	if !l.first && r.Step%l.options.EverySteps != 0 && r.Step != l.options.TotalSteps {
		return errors.Join(errs...)
	}
	l.first = false
	if l.bar == nil {
		errs = append(errs, l.print(stepLine(r, l.options.TotalSteps, l.options.Device, eta)))
	}
	for _, f := range l.files {
		errs = append(errs, f.step(r))
	}
	return errors.Join(errs...)
}

// Validation tells a finished validation of one set. The error is that of a file.
func (l *Logger) Validation(v ValidationRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := []error{l.above(validationText(v, l.options.DefaultSet))}
	if l.live != nil {
		errs = append(errs, l.live.validated(v))
	}
	for _, f := range l.files {
		errs = append(errs, f.validated(v))
	}
	return errors.Join(errs...)
}

// Sample tells an answer. The error is that of a file.
func (l *Logger) Sample(s SampleRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.above(sampleText(s))
	if l.json != nil {
		err = errors.Join(err, l.json.sample(s))
	}
	return err
}

// Print writes a line for people, above the bar if there is one. The error is that of a file that keeps the lines.
func (l *Logger) Print(line string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.above(line)
}

// Close ends the bar's line, the files and the endpoint; outcome is how the run ended, nil = well. It may be called
// twice.
func (l *Logger) Close(outcome error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bar != nil {
		_ = l.bar.Exit() // keeps the bar as it stands
		l.bar = nil
		l.show("")
	}
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.close(outcome))
	}
	if l.live != nil {
		errs = append(errs, l.live.close(outcome))
	}
	l.files, l.live, l.json, l.wandb = nil, nil, nil, nil
	return errors.Join(errs...)
}

// above prints a line and draws the bar again below it. mu is held.
func (l *Logger) above(line string) error {
	if l.bar == nil {
		return l.print(line)
	}
	_ = l.bar.Clear()
	err := l.print(line)
	_ = l.bar.RenderBlank()
	return err
}

// print writes a line for people and for W&B, which keeps what was printed. mu is held.
func (l *Logger) print(line string) error {
	l.show(line)
	if l.wandb == nil {
		return nil
	}
	return l.wandb.printed(line)
}

// show writes a line for people. Nobody reading it is no reason to stop a run, so errors are let go. mu is held.
func (l *Logger) show(line string) {
	if l.options.Output != nil {
		_, _ = io.WriteString(l.options.Output, line+"\n")
	}
}

// isTerminal says that w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// newBar draws a bar that stands at step from of total. Its own clock is off: eta is in the text.
func newBar(w io.Writer, from, total int) *progressbar.ProgressBar {
	bar := progressbar.NewOptions(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetWidth(20),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetRenderBlankState(from == 0),
	)
	if from > 0 {
		_ = bar.Set(min(from, total))
	}
	return bar
}
