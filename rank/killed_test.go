package rank

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
	"gorun/rank/ckpt"
	"gorun/tools/skip"
)

// longRecipe makes 60 steps and saves after each: half of its time is saving. Nothing of it is thinned out or lost by
// being killed, but the line of a step that no checkpoint has.
func longRecipe(t *testing.T, base, dir string, more ...string) *configs.Recipe {
	t.Helper()
	return tinyRecipe(t, base, dir, append([]string{"step_scheduler.num_epochs=15", "step_scheduler.ckpt_every_steps=1", "step_scheduler.val_every_steps=7", "checkpoint.keep=2"}, more...)...)
}

// sameRun fails unless two runs ended in the same bytes: what was trained, the optimizer's state, every loss.
func sameRun(t *testing.T, got, want string) {
	t.Helper()
	for _, name := range []string{"adapter_model.safetensors", "optimizer.safetensors", "state.json"} {
		if !bytes.Equal(file(t, got, "LATEST", name), file(t, want, "LATEST", name)) {
			t.Errorf("%s differs", name)
		}
	}
	a, b := losses(t, got), losses(t, want)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("losses %v, want %v", a, b)
	}
}

// wholeCheckpoints loads every checkpoint of a run, byte by byte, and returns the step of the newest, 0 without any.
func wholeCheckpoints(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	newest := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "epoch_") || e.Name() == "LATEST" || e.Name() == "LOWEST_VAL" {
			s, err := ckpt.Load(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatalf("%s: %v", e.Name(), err)
			}
			newest = max(newest, s.Step)
		}
	}
	return newest
}

// TestKilled kills a run with SIGKILL at moments that a seed chooses, again and again: while it starts, trains, saves and
// moves links. Every time all that is published is whole and as far as was told; and the run, ended at last, is to the bit
// one that nobody killed. GORUN_KILLS says how often; make kills takes 50. Two ranks are killed a fifth as often.
func TestKilled(t *testing.T) {
	skip.InShort(t, "a run killed at random moments, in processes")
	devicetest.CPUOnly(t)
	kills := 5
	if text := os.Getenv("GORUN_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	base := tinyBase(t)
	t.Run("one rank", func(t *testing.T) { killAgainAndAgain(t, base, 1, kills) })
	t.Run("two ranks", func(t *testing.T) { killAgainAndAgain(t, base, 2, max(1, kills/5)) })
}

// killAgainAndAgain kills a run on a number of ranks so many times and compares it with one that was not.
func killAgainAndAgain(t *testing.T, base string, world, kills int) {
	unbroken, dir := t.TempDir(), t.TempDir()
	recipe := longRecipe(t, base, unbroken, fmt.Sprint("step_scheduler.grad_acc_steps=", 2/world))
	trainOn(t, recipe, world) // in processes, which compile once for all
	began := time.Now()
	trainOn(t, recipe, world) // it has nothing to do: as long as a start takes
	start := time.Since(began)
	recipe.Checkpoint.Dir = dir

	random := rand.New(rand.NewPCG(7, 50))
	saving, step := 0, 0
	for n := range kills {
		step = killOnce(t, recipe, world, random, n%4 == 3, start, step)
		if halfWritten(t, dir) {
			saving++
		}
		if step == 60 { // it is done: once more from the start
			sameRun(t, dir, unbroken)
			recipe.Checkpoint.Dir, step = t.TempDir(), 0
			dir = recipe.Checkpoint.Dir
		}
	}
	trainOn(t, recipe, world)
	sameRun(t, dir, unbroken)
	t.Logf("%d kills, %d of them inside of a save", kills, saving)
}

// halfWritten tells whether a killed run has left an unfinished checkpoint.
func halfWritten(t *testing.T, dir string) bool {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// killOnce starts the run, kills all of its ranks, early or up to 30 ms after one of its first steps, and returns the step
// of its newest checkpoint, which was at step before.
func killOnce(t *testing.T, recipe *configs.Recipe, world int, random *rand.Rand, early bool, start time.Duration, step int) int {
	t.Helper()
	ranks := startRanks(t, recipe, world, nil)
	p := ranks[0]
	told := step // the last checkpoint that the run has told of
	next := func() bool {
		more := p.events.Scan()
		if _, rest, ok := strings.Cut(p.events.Text(), `{"event":"saved","step":`); ok {
			if _, err := fmt.Sscan(rest[:strings.IndexAny(rest, ",}")], &told); err != nil {
				t.Fatal(err)
			}
		}
		return more
	}
	wait := time.Duration(random.Int64N(int64(30 * time.Millisecond)))
	if early {
		wait = time.Duration(random.Int64N(int64(start)))
	} else {
		for steps := random.IntN(6); steps >= 0 && next(); {
			if strings.Contains(p.events.Text(), `"ready"`) || strings.Contains(p.events.Text(), `"step",`) {
				steps--
			}
		}
	}
	timer := time.AfterFunc(wait, func() {
		for _, p := range ranks {
			_ = p.Process.Kill()
		}
	})
	defer timer.Stop()
	for next() { // until it is gone
	}
	for _, other := range ranks[1:] { // killed, or failed as it was alone
		for other.events.Scan() {
		}
		_ = other.Wait()
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	now := wholeCheckpoints(t, recipe.Checkpoint.Dir)
	if now < told || now > told+1 { // one may be whole and not yet told of
		t.Errorf("killed after it told of step %d; the newest checkpoint is of step %d", told, now)
	}
	return now
}
