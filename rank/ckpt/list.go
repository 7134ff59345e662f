package ckpt

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gorun/model/export"
)

// entry is one checkpoint in a run's folder.
type entry struct {
	name        string
	epoch, step int
	sequence    int64
	err         error // why it cannot be used; sizes are compared, contents are not
}

// checkpointName returns the folder's name of a checkpoint.
func checkpointName(epoch, step int) string { return fmt.Sprintf("epoch_%d_step_%d", epoch, step) }

// parseName takes a folder's name apart; ok only if checkpointName made it.
func parseName(name string) (epoch, step int, ok bool) {
	rest, ok1 := strings.CutPrefix(name, "epoch_")
	e, s, ok2 := strings.Cut(rest, "_step_")
	if !ok1 || !ok2 {
		return 0, 0, false
	}
	epoch, err1 := strconv.Atoi(e)
	step, err2 := strconv.Atoi(s)
	ok = err1 == nil && err2 == nil && checkpointName(epoch, step) == name
	return epoch, step, ok
}

// list returns the checkpoints in a folder, the last saved first; those that cannot be used come last.
// A folder that does not exist has none.
func list(dir string) ([]entry, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []entry
	for _, f := range found {
		epoch, step, ok := parseName(f.Name())
		if !ok || !f.IsDir() {
			continue
		}
		e := entry{name: f.Name(), epoch: epoch, step: step}
		m, err := readManifest(filepath.Join(dir, f.Name()))
		if err != nil {
			e.err = err
		} else {
			e.sequence = m.Sequence
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(x, y entry) int {
		return cmp.Or(cmp.Compare(y.sequence, x.sequence), cmp.Compare(y.step, x.step), cmp.Compare(y.epoch, x.epoch))
	})
	return out, nil
}

// lowest returns the name of the usable checkpoint with the lowest validation loss among those trained
// on the given base, the earliest saved of equals; "" if none has one.
func lowest(dir string, entries []entry, baseDigest string) (string, error) {
	best, bestLoss := "", 0.0
	for _, e := range slices.Backward(entries) {
		if e.err != nil {
			continue
		}
		data, err := export.ReadBounded(filepath.Join(dir, e.name, stateFile), maxStateBytes)
		if err != nil {
			return "", err
		}
		s, err := decodeState(data)
		if err != nil || s.ValLoss == nil || s.BaseDigest != baseDigest {
			continue // what cannot be read cannot be the best
		}
		if best == "" || *s.ValLoss < bestLoss {
			best, bestLoss = e.name, *s.ValLoss
		}
	}
	return best, nil
}
