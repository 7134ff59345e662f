package metrics

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Names of the files of records in a run's folder.
const (
	TrainingFile   = "training.jsonl"
	ValidationFile = "validation.jsonl"
	SamplesFile    = "samples.jsonl"
)

// maxLine bounds a line that is read back; ours have about 200 bytes, those of samples some thousand.
const maxLine = 1 << 20

// jsonFiles writes records as lines of JSON.
type jsonFiles struct {
	training, validation, samples *logFile
}

// openJSON opens the files in dir, or none. A run that resumes after step resume > 0 goes on behind the last record up
// to it; later ones, and a last line that a crash tore, are cut. A new run (resume 0) sets older files aside as path.1,
// path.2 and so on.
func openJSON(dir string, resume int) (*jsonFiles, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var f jsonFiles
	for _, x := range []struct {
		name string
		file **logFile
	}{{TrainingFile, &f.training}, {ValidationFile, &f.validation}, {SamplesFile, &f.samples}} {
		path := filepath.Join(dir, x.name)
		var err error
		if resume == 0 {
			err = setAside(path)
		}
		if err == nil {
			*x.file, err = openLog(path, func(r io.Reader) (int64, error) { return endOf(r, resume) })
		}
		if err != nil {
			return nil, errors.Join(err, f.close(nil))
		}
	}
	return &f, nil
}

// endOf returns the offset behind the last record up to step resume. A last line without its end is torn
// and not counted. Lines that are no records, or steps out of order, are errors: then the file is not
// ours to cut.
func endOf(r io.Reader, resume int) (int64, error) {
	lines := bufio.NewReaderSize(r, maxLine)
	var offset, end int64
	for n, late := 1, false; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return end, nil
		case err != nil:
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		var record struct{ Step *int }
		if err := json.Unmarshal(line, &record); err != nil || record.Step == nil {
			return 0, fmt.Errorf("line %d is no record of a step", n)
		}
		offset += int64(len(line))
		switch {
		case *record.Step > resume:
			late = true
		case late:
			return 0, fmt.Errorf("line %d: step %d comes after later ones", n, *record.Step)
		default:
			end = offset
		}
	}
}

// writeLine appends one record.
func writeLine(l *logFile, record any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(record); err != nil {
		return fmt.Errorf("write %s: %w", l.file.Name(), err)
	}
	return l.append(b.Bytes())
}

func (f *jsonFiles) step(r Record) error {
	return writeLine(f.training, trainingLine{
		Step:           r.Step,
		Epoch:          r.Epoch,
		Loss:           number(r.Loss),
		GradNorm:       number(r.GradNorm),
		LR:             number(r.LR),
		NumLabelTokens: r.NumLabelTokens,
		TokS:           number(r.TokS),
		StepTimeS:      number(r.StepTimeS),
		MFU:            number(r.MFU),
		MemGiB:         number(r.MemGiB),
	})
}

func (f *jsonFiles) validated(v ValidationRecord) error {
	return writeLine(f.validation, validationLine{
		Step:           v.Step,
		Epoch:          v.Epoch,
		Set:            v.Set,
		ValLoss:        number(v.ValLoss),
		NumLabelTokens: v.NumLabelTokens,
		TimeS:          number(v.TimeS),
	})
}

// sample appends to samples.jsonl.
func (f *jsonFiles) sample(s SampleRecord) error { return writeLine(f.samples, s) }

func (f *jsonFiles) close(error) error {
	var errs []error
	for _, l := range []*logFile{f.training, f.validation, f.samples} {
		if l != nil {
			errs = append(errs, l.close())
		}
	}
	return errors.Join(errs...)
}
