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

// results reads the validations up to a step from a run's log, in the order of the sets' first appearance. A run
// without the log has none.
func results(dir string, step int) ([]Result, error) {
	path := filepath.Join(dir, metrics.ValidationFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	var out []Result
	at := map[string]int{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		var v struct {
			Step   int      `json:"step"`
			Set    string   `json:"set"`
			Loss   *float64 `json:"val_loss"` // null if it was not finite
			Tokens int      `json:"num_label_tokens"`
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if v.Step > step || v.Loss == nil {
			continue
		}
		i, ok := at[v.Set]
		if !ok {
			i = len(out)
			at[v.Set] = i
			out = append(out, Result{Set: v.Set, First: *v.Loss, Lowest: *v.Loss})
		}
		r := &out[i]
		r.Loss, r.Step, r.Tokens, r.Lowest = *v.Loss, v.Step, v.Tokens, min(r.Lowest, *v.Loss)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}
