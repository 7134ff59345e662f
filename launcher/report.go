package launcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gorun/launcher/rdzv"
)

// record is verdict.json.
type record struct {
	Run      string          `json:"run"`
	Verdicts []*rdzv.Verdict `json:"verdicts"` // one a generation
	Nodes    []rdzv.Member   `json:"nodes"`    // of the last one
}

// verdictFile is in the run's folder.
const verdictFile = "verdict.json"

// forget removes the verdict of an earlier launch into the same folder: until it ends, this one has none. Of several
// nodes, those of the first generation do so when it starts: one that comes later may share the folder with them.
func (a *Agent) forget() error {
	if err := os.Remove(filepath.Join(a.cfg.RunDir(), verdictFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return logFault(err)
	}
	return nil
}

// logFault says what to do about a folder of logs that cannot be used.
func logFault(err error) error {
	return fmt.Errorf("--log-dir: name a folder that can be written to and has room: %w", err)
}

// announce tells the user, and keeps the verdict unless it is about ranks of other nodes only. A disk that is slow holds
// up neither the ranks' end nor the other nodes.
func (a *Agent) announce(v *rdzv.Verdict) {
	a.tell(v)
	if a.plan == nil && (v.OK || v.Failure.Node != a.self.ID) {
		return
	}
	var nodes []rdzv.Member
	if a.plan != nil {
		nodes = a.plan.Nodes
	}
	before := a.kept
	a.kept = make(chan struct{})
	go func(done chan<- struct{}) {
		defer close(done)
		<-before
		if err := a.keep(v, nodes); err != nil {
			a.cfg.Log.Warn().Err(err).Msg("the verdict could not be written")
		}
	}(a.kept)
}

// tell prints the verdict, after what explains it; what ranks say from then on is not shown.
func (a *Agent) tell(v *rdzv.Verdict) {
	if v.OK && !v.Stopped {
		return
	}
	if !v.OK {
		a.out.mute(true)
		a.err.mute(true)
	}
	a.err.mu.Lock()
	defer a.err.mu.Unlock()
	if f := v.Failure; f != nil && f.Rank >= 0 {
		if said := strings.TrimSpace(f.Error); strings.Contains(said, "\n") {
			fmt.Fprintf(a.err.w, "gorun: rank %d says:\n%s\n", f.Rank, said)
		}
		if f.Cause != rdzv.NoStart {
			fmt.Fprintf(a.err.w, "gorun: the log of rank %d on node %s is %s; the other ranks' are beside it\n", f.Rank, f.Node, filepath.Join(a.rankDir(v.Gen, f.Rank), stderrName+".log"))
		}
	}
	fmt.Fprintf(a.err.w, "gorun: %s\n", v.Line())
}

// keepTimeout is how long the end of a run waits for its verdict to be on disk.
const keepTimeout = 5 * time.Second

func (a *Agent) awaitKept() {
	select {
	case <-a.kept:
	case <-time.After(keepTimeout):
		a.cfg.Log.Warn().Msgf("the disk of %s has not taken the verdict within %s", a.cfg.RunDir(), keepTimeout)
	}
}

// keep writes a verdict on ranks of these nodes; there are none if no rank ever ran.
func (a *Agent) keep(v *rdzv.Verdict, nodes []rdzv.Member) error {
	rec, err := readRecord(a.cfg.RunDir())
	if errors.Is(err, os.ErrNotExist) {
		rec, err = &record{}, nil
	}
	if err != nil {
		return err
	}
	if !overlap(rec.Nodes, nodes) {
		rec = &record{} // an earlier launch's, into the same folder
	}
	rec.Run = a.cfg.RunID
	rec.Verdicts = slices.DeleteFunc(rec.Verdicts, func(o *rdzv.Verdict) bool { return o.Gen >= v.Gen })
	rec.Verdicts = append(rec.Verdicts, v)
	rec.Nodes = nodes
	b, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(a.cfg.RunDir(), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(a.cfg.RunDir(), verdictFile+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(a.cfg.RunDir(), verdictFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// overlap tells whether two generations have a node in common: those of one launch have, and of two have not, because
// each agent of several has a name of its own.
func overlap(a, b []rdzv.Member) bool {
	return slices.ContainsFunc(a, func(m rdzv.Member) bool {
		return slices.ContainsFunc(b, func(o rdzv.Member) bool { return o.ID == m.ID })
	})
}

// maxRecord bounds what is read of a file that anybody may have written.
const maxRecord = 4 << 20

func readRecord(dir string) (*record, error) {
	f, err := os.Open(filepath.Join(dir, verdictFile))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil, err
	}
	return parseRecord(b)
}

func parseRecord(b []byte) (*record, error) {
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		return nil, fmt.Errorf("%s: %w", verdictFile, err)
	}
	for i, v := range rec.Verdicts {
		if v == nil || !v.OK && v.Failure == nil {
			return nil, fmt.Errorf("%s: verdict %d says neither that all went well nor what failed", verdictFile, i)
		}
	}
	return &rec, nil
}

// Why explains how a run ended, from what its agent left in dir or in the launch folder there.
func Why(w io.Writer, dir string) error {
	rec, err := readRecord(dir)
	if errors.Is(err, os.ErrNotExist) {
		inner := filepath.Join(dir, DefaultRunID)
		if rec, err = readRecord(inner); err == nil {
			dir = inner
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s has no %s: name the folder of a run of several ranks that has ended", dir, verdictFile)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for i, v := range rec.Verdicts {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, v.Line())
		if v.OK || v.Failure.Rank < 0 {
			continue
		}
		if v.Failure.Tail != "" {
			fmt.Fprintf(w, "the end of rank %d's stderr:\n%s\n", v.Failure.Rank, v.Failure.Tail)
		}
		fmt.Fprintf(w, "its logs: %s on node %s\n", filepath.Join(dir, fmt.Sprintf("attempt_%d", v.Gen), fmt.Sprint(v.Failure.Rank)), v.Failure.Node)
	}
	return nil
}
