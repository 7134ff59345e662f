package metrics

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Names of the files in Options.Dir.
const (
	TrainingFile   = "training.jsonl"
	ValidationFile = "validation.jsonl"
)

// Options says where a Logger writes.
type Options struct {
	// Dir is the folder of the JSONL files; it is made if it is not there. Empty = no files.
	Dir string
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
	options    Options
	training   *jsonl // nil = no files
	validation *jsonl

	mu    sync.Mutex // over all below, and over writing
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
	if o.Dir != "" {
		if err := l.open(); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	if o.Output != nil && !o.Plain && o.TotalSteps > 0 && (o.Bar || isTerminal(o.Output)) {
		l.bar = newBar(o.Output, o.ResumeStep, o.TotalSteps)
	}
	return l, nil
}

// open opens both files, or none.
func (l *Logger) open() error {
	dir := l.options.Dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	training, err := openJSONL(filepath.Join(dir, TrainingFile), l.options.ResumeStep)
	if err != nil {
		return err
	}
	validation, err := openJSONL(filepath.Join(dir, ValidationFile), l.options.ResumeStep)
	if err != nil {
		return errors.Join(err, training.close())
	}
	l.training, l.validation = training, validation
	return nil
}

// Step tells a finished step. The error is that of training.jsonl, such as a full disk; the file then
// still ends with a whole line.
func (l *Logger) Step(r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace.add(r.Step, r.StepTimeS)
	eta := l.pace.eta(l.options.TotalSteps)
	if l.bar != nil {
		l.bar.Describe(barText(r, l.options.Device, eta))
		_ = l.bar.Set(min(r.Step, l.options.TotalSteps)) // a terminal that is gone does not stop a run
	}
	if !l.first && r.Step%l.options.EverySteps != 0 && r.Step != l.options.TotalSteps {
		return nil
	}
	l.first = false
	if l.bar == nil {
		l.print(stepLine(r, l.options.TotalSteps, l.options.Device, eta))
	}
	if l.training == nil {
		return nil
	}
	return l.training.write(trainingLine{
		Step:           r.Step,
		Epoch:          r.Epoch,
		Loss:           number(r.Loss),
		GradNorm:       number(r.GradNorm),
		LR:             number(r.LR),
		NumLabelTokens: r.NumLabelTokens,
		TokS:           number(r.TokS),
		StepTimeS:      number(r.StepTimeS),
		MemGiB:         number(r.MemGiB),
	})
}

// Validation tells a finished validation of one set. The error is that of validation.jsonl.
func (l *Logger) Validation(v ValidationRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.above(validationText(v, l.options.DefaultSet))
	if l.validation == nil {
		return nil
	}
	return l.validation.write(validationLine{
		Step:           v.Step,
		Epoch:          v.Epoch,
		Set:            v.Set,
		ValLoss:        number(v.ValLoss),
		NumLabelTokens: v.NumLabelTokens,
		TimeS:          number(v.TimeS),
	})
}

// Print writes a line for people, above the bar if there is one.
func (l *Logger) Print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.above(line)
}

// Close ends the bar's line and closes the files. It may be called twice.
func (l *Logger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bar != nil {
		_ = l.bar.Exit() // keeps the bar as it stands
		l.bar = nil
		l.print("")
	}
	var errs []error
	for _, file := range []**jsonl{&l.training, &l.validation} {
		if *file != nil {
			errs = append(errs, (*file).close())
			*file = nil
		}
	}
	return errors.Join(errs...)
}

// above prints a line and draws the bar again below it. mu is held.
func (l *Logger) above(line string) {
	if l.bar == nil {
		l.print(line)
		return
	}
	_ = l.bar.Clear()
	l.print(line)
	_ = l.bar.RenderBlank()
}

// print writes a line. Nobody reading it is no reason to stop a run, so errors are let go. mu is held.
func (l *Logger) print(line string) {
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
