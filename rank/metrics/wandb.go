package metrics

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// WandbDir is the folder of W&B's runs in a run's folder.
const WandbDir = "wandb"

// WandbOptions describe a run to W&B.
type WandbOptions struct {
	Project string // required
	Entity  string // "" = the account's own
	Name    string // "" = W&B chooses
	Recipe  string // the effective recipe as TOML, W&B's config
	Version string // of gorun
}

// wandb writes a run's folder as W&B's client does offline, for `wandb sync`. A run that resumes goes on in the newest
// folder: what was recorded behind the resumed step is cut.
type wandb struct {
	log  *logFile
	now  func() time.Time
	from time.Time // when the run would have started, had it never stopped
	num  int       // records written
	rows int       // of history
}

// openWandb opens the newest run in dir, or begins one.
func openWandb(dir string, o WandbOptions, resume int, now func() time.Time) (*wandb, error) {
	w := &wandb{now: now, from: now()}
	if resume > 0 {
		path, err := newestWandb(dir)
		if err != nil {
			return nil, err
		}
		if path != "" {
			return w, w.resume(path, resume)
		}
	}
	return w, w.begin(dir, o)
}

// runFolder begins the name of a run's folder, before its time and its id.
const runFolder = "offline-run-"

// newestWandb finds the file of the newest run in dir; "" = there is none.
func newestWandb(dir string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted, and named by their time
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("look for older W&B runs: %w", err)
	}
	for _, e := range slices.Backward(entries) {
		name, ours := strings.CutPrefix(e.Name(), runFolder)
		_, id, whole := strings.Cut(name, "-")
		path := filepath.Join(dir, e.Name(), "run-"+id+".wandb")
		if _, err := os.Stat(path); ours && whole && err == nil {
			return path, nil
		}
	}
	return "", nil
}

// begin makes a run's folder and the records that open its file.
func (w *wandb) begin(dir string, o WandbOptions) error {
	var config map[string]any
	if _, err := toml.Decode(o.Recipe, &config); err != nil {
		return fmt.Errorf("the recipe as W&B's config: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name the W&B run's host: %w", err)
	}
	id := strings.ToLower(rand.Text()[:8])
	folder := filepath.Join(dir, runFolder+w.from.Format("20060102_150405")+"-"+id)
	if err := os.MkdirAll(filepath.Join(folder, "files"), 0o755); err != nil {
		return err
	}
	run, err := runRecord(o, id, host, w.from, config)
	if err != nil {
		return err
	}
	if w.log, err = openLog(filepath.Join(folder, "run-"+id+".wandb"), func(io.Reader) (int64, error) { return 0, nil }); err != nil {
		return err
	}
	err = w.log.append([]byte(wandbMagic))
	if err == nil {
		err = w.write(recordHeader, headerRecord(o.Version))
	}
	if err == nil {
		err = w.write(recordRun, run)
	}
	for _, m := range metricRecords() {
		if err == nil {
			err = w.write(recordMetric, m)
		}
	}
	if err != nil {
		return errors.Join(err, w.log.close())
	}
	return nil
}

// resume cuts a run's file behind the resumed step and goes on there.
func (w *wandb) resume(path string, step int) (err error) {
	var past wandbPast
	if w.log, err = openLog(path, func(r io.Reader) (int64, error) {
		past, err = readWandbPast(r, step)
		return past.end, err
	}); err != nil {
		return err
	}
	w.num, w.rows = past.num, past.rows
	w.from = w.from.Add(-time.Duration(past.runtime * float64(time.Second)))
	// The client's marks of what it has uploaded hold no more: it would leave out what comes now.
	for _, mark := range []string{".synced", ".syncstate"} {
		if err := os.Remove(path + mark); err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Join(err, w.log.close())
		}
	}
	return nil
}

// write appends a record, the content being its field.
func (w *wandb) write(field fieldNumber, content message) error {
	var m message
	m.varint(recordNum, uint64(w.num+1))
	m.bytes(field, content)
	if err := w.log.append(wandbChunks(w.log.size, m)); err != nil {
		return err
	}
	w.num++
	return nil
}

// row appends a row of values to the history, and the same to the summary of last values.
func (w *wandb) row(step, epoch int, list []scalar) error {
	at := w.now()
	list = append(list,
		scalar{stepKey, float64(step)}, scalar{"epoch", float64(epoch)}, scalar{"_step", float64(w.rows)},
		scalar{"_timestamp", float64(at.UnixMicro()) / 1e6}, scalar{"_runtime", at.Sub(w.from).Seconds()})
	if err := w.write(recordSummary, items(summaryUpdate, list)); err != nil {
		return err
	}
	if err := w.write(recordHistory, historyRecord(w.rows, list)); err != nil {
		return err
	}
	w.rows++
	return nil
}

func (w *wandb) step(r Record) error { return w.row(r.Step, r.Epoch, r.scalars()) }

func (w *wandb) validated(v ValidationRecord) error {
	return w.row(v.Step, v.Epoch, []scalar{v.scalar()})
}

// printed records a line for people.
func (w *wandb) printed(line string) error {
	return w.write(recordOutputRaw, outputRecord(line, w.now()))
}

func (w *wandb) close(outcome error) error {
	code := 0
	if outcome != nil {
		code = 1
	}
	err := w.write(recordExit, exitRecord(code, w.now().Sub(w.from)))
	return errors.Join(err, w.log.close())
}
