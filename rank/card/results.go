package card

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gorun/rank/metrics"
)

// Result is the outcome of a validation set.
type Result struct {
	Set    string
	First  float64 // loss at the run's first validation
	Loss   float64 // at the last one up to the checkpoint's step
	Lowest float64 // of all up to then
	Step   int     // of Loss
	Tokens int     // valid tokens of the set
}

// maxLine bounds a line of a log; ours have some 200 bytes.
const maxLine = 1 << 20

// validations reads the validations up to a step from a run's log, in the order of the sets' first appearance.
func validations(dir string, step int) (out []Result, err error) {
	at := map[string]int{}
	err = records(filepath.Join(dir, metrics.ValidationFile), step, func(v record) {
		if v.ValLoss == nil {
			return
		}
		i, ok := at[v.Set]
		if !ok {
			i = len(out)
			at[v.Set] = i
			out = append(out, Result{Set: v.Set, First: *v.ValLoss, Lowest: *v.ValLoss})
		}
		r := &out[i]
		r.Loss, r.Step, r.Tokens, r.Lowest = *v.ValLoss, v.Step, v.Tokens, min(r.Lowest, *v.ValLoss)
	})
	return out, err
}

// firstLoss reads the training loss of a run's first logged step, nil if there is none.
func firstLoss(dir string, step int) (loss *float64, err error) {
	err = records(filepath.Join(dir, metrics.TrainingFile), step, func(v record) {
		if loss == nil {
			loss = v.Loss
		}
	})
	return loss, err
}

// record is what a card needs of a line of either log. A loss that was not finite is null.
type record struct {
	Step    int      `json:"step"`
	Set     string   `json:"set"`
	Loss    *float64 `json:"loss"`
	ValLoss *float64 `json:"val_loss"`
	Tokens  int      `json:"num_label_tokens"`
}

// records calls do for each record of a log up to a step. A run without the log has none.
func records(path string, step int, do func(record)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		var v record
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if v.Step <= step {
			do(v)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
