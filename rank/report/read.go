package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"gorun/rank/metrics"
)

// Bounds of what is read. A run of 100,000 steps has about 20 MB of records.
const (
	maxLine    = 1 << 20
	maxRecords = 5_000_000
	maxSmall   = 4 << 20 // environment.json, recipe.toml
)

// step is a line of training.jsonl; what is null there is NaN.
type step struct {
	Step     int    `json:"step"`
	Epoch    int    `json:"epoch"`
	Loss     number `json:"loss"`
	GradNorm number `json:"grad_norm"`
	LR       number `json:"lr"`
	Tokens   int64  `json:"num_label_tokens"`
	TokS     number `json:"tok_s"`
	Seconds  number `json:"step_time_s"`
	MemGiB   number `json:"mem_gib"`
}

// validation is a line of validation.jsonl.
type validation struct {
	Step int    `json:"step"`
	Set  string `json:"set"`
	Loss number `json:"val_loss"`
}

// number is a float that JSON may hold as null: then it is NaN.
type number float64

// UnmarshalJSON reads a number or null.
func (n *number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// records are all that a run's folder tells.
type records struct {
	steps       []step
	validations []validation
	samples     []metrics.SampleRecord
	environment metrics.Environment
	recipe      string
}

// read reads a run's folder. Only training.jsonl must be there.
func read(dir string) (*records, error) {
	var r records
	err := lines(filepath.Join(dir, metrics.TrainingFile), &r.steps)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("report: %w: name the folder of a run that wrote its records (logging.jsonl)", err)
	}
	err = errors.Join(err, optional(lines(filepath.Join(dir, metrics.ValidationFile), &r.validations)))
	err = errors.Join(err, optional(lines(filepath.Join(dir, metrics.SamplesFile), &r.samples)))
	environment, missing := small(filepath.Join(dir, metrics.EnvironmentFile))
	err = errors.Join(err, optional(missing))
	if environment != nil {
		if bad := json.Unmarshal(environment, &r.environment); bad != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", filepath.Join(dir, metrics.EnvironmentFile), bad))
		}
	}
	recipe, missing := small(filepath.Join(dir, metrics.RecipeFile))
	r.recipe = string(recipe)
	if err = errors.Join(err, optional(missing)); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &r, nil
}

// optional lets a file be missing.
func optional(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// small reads a file that must be small.
func small(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(b) > maxSmall {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxSmall)
	}
	return b, nil
}

// lines reads a file of records, one a line.
func lines[T any](path string, out *[]T) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	*out, err = parse[T](f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// parse reads records, one a line. A last line without its end is still being written, and left out.
func parse[T any](in io.Reader) ([]T, error) {
	var out []T
	r := bufio.NewReaderSize(in, maxLine)
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case n > maxRecords:
			return nil, fmt.Errorf("more than %d lines", maxRecords)
		}
		var x T
		if err := json.Unmarshal(line, &x); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, x)
	}
}
