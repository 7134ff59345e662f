package rank

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
)

// rankRecipe names the recipe that a process of the tests trains as one of several ranks.
const rankRecipe = "GORUN_TEST_RECIPE"

// TestRankProcess is no test of its own: it is a rank, when another test starts this binary as one.
func TestRankProcess(t *testing.T) {
	path := os.Getenv(rankRecipe)
	if path == "" {
		return
	}
	p, err := PlaceFrom(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	p.Events = os.Stdout
	r, err := configs.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	job, err := PrepareAt(t.Context(), p, r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if stop := os.Getenv("GORUN_TEST_STOP"); stop != "" { // this rank is asked to stop at the start
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		n, _ := strconv.Atoi(stop)
		p.Events = writerFunc(func(b []byte) (int, error) {
			if bytes.Contains(b, fmt.Appendf(nil, `"event":"step","step":%d`, n)) {
				cancel()
			}
			return len(b), nil
		})
		job.Place = p
	}
	device := testDevice(t)
	device.GPU = p.GPU
	err = job.Run(ctx, Options{Device: device, Version: "test", Out: os.Stderr, Fault: os.Stderr})
	if err := job.Close(); err != nil {
		t.Error(err)
	}
	if err != nil && !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
}

// process is a rank in a process of its own.
type process struct {
	*exec.Cmd
	events *bufio.Scanner
	stderr bytes.Buffer
	saved  []event // the checkpoints that it told of, once it has been awaited
}

// startRanks starts world ranks on a recipe.
func startRanks(t *testing.T, r *configs.Recipe, world int, more func(rank int) []string) []*process {
	t.Helper()
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "recipe.toml")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	out := make([]*process, world)
	for rank := range out {
		p := &process{Cmd: exec.Command(os.Args[0], "-test.run=^TestRankProcess$")}
		p.Env = append(os.Environ(), rankRecipe+"="+path, "MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port,
			fmt.Sprint("RANK=", rank), fmt.Sprint("LOCAL_RANK=", rank), fmt.Sprint("WORLD_SIZE=", world), "GORUN_JOB_KEY="+strings.Repeat("5a", 32))
		if more != nil {
			p.Env = append(p.Env, more(rank)...)
		}
		p.Stderr = &p.stderr
		stdout, err := p.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.events = bufio.NewScanner(stdout)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		out[rank] = p
	}
	return out
}

// await lets the ranks end and returns their errors.
func await(t *testing.T, ranks []*process) []error {
	t.Helper()
	errs := make([]error, len(ranks))
	timeout := time.AfterFunc(10*time.Minute, func() {
		for _, p := range ranks {
			_ = p.Process.Kill() // it hangs: Wait tells
		}
	})
	defer timeout.Stop()
	done := make(chan bool)
	for i, p := range ranks {
		go func() {
			var failed strings.Builder // what the test in the process said of itself
			for p.events.Scan() {      // read to the end
				if strings.Contains(p.events.Text(), "FAIL") || strings.Contains(p.events.Text(), "ranks_test.go") {
					failed.WriteString(p.events.Text() + "\n")
				}
				var e event
				if json.Unmarshal(p.events.Bytes(), &e) == nil && e.Event == "saved" {
					p.saved = append(p.saved, e)
				}
			}
			errs[i] = p.Wait()
			p.stderr.WriteString(failed.String()) // only now: until Wait returns the process's output goes there
			done <- true
		}()
	}
	for range ranks {
		<-done
	}
	return errs
}

// trainOn trains a recipe on a number of ranks.
func trainOn(t *testing.T, r *configs.Recipe, world int) {
	t.Helper()
	ranks := startRanks(t, r, world, nil)
	for i, err := range await(t, ranks) {
		if err != nil {
			t.Fatalf("rank %d: %v\n%s", i, err, ranks[i].stderr.String())
		}
	}
}

// TestSavingPause: training on two ranks goes on at once while a checkpoint is read, gathered and written, of an adapter
// and of all parameters, and the checkpoints are those of a run that saves once. The bound is that which is asked for; a
// quiet machine needs a hundredth of it, and of four checkpoints one finds it quiet, or training waits for less than half of
// what one takes: if it went on only when all is written, it would wait for all of that.
func TestSavingPause(t *testing.T) {
	base := tinyBase(t)
	for scheme, weights := range map[string]string{"lora": "adapter_model.safetensors", "none": "model.safetensors"} {
		dir, once := t.TempDir(), t.TempDir()
		more := []string{"peft.scheme=" + scheme, "step_scheduler.val_every_steps=0", "step_scheduler.num_epochs=4"}
		trainOn(t, tinyRecipe(t, base, once, append(more, "step_scheduler.ckpt_every_steps=0")...), 2)
		ranks := startRanks(t, tinyRecipe(t, base, dir, append(more, "step_scheduler.ckpt_every_steps=2", "checkpoint.keep=0")...), 2, nil)
		for i, err := range await(t, ranks) {
			if err != nil {
				t.Fatalf("rank %d: %v\n%s", i, err, ranks[i].stderr.String())
			}
		}
		goesOn := slices.ContainsFunc(ranks[0].saved, func(e event) bool { return e.PauseS < max(0.1, e.TookS/2) })
		if len(ranks[0].saved) != 4 || len(ranks[1].saved) > 0 || !goesOn {
			t.Errorf("%s: training paused for too long: %+v", scheme, ranks[0].saved)
		}
		for _, name := range []string{weights, "optimizer.safetensors", "state.json"} {
			if !bytes.Equal(file(t, dir, "LATEST", name), file(t, once, "LATEST", name)) {
				t.Errorf("%s: %s differs", scheme, name)
			}
		}
	}
}

// TestStop: one rank of three is asked to stop; all end the same step, save, and leave without an error; what follows is
// as if they had not stopped.
func TestStop(t *testing.T) {
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	dir := t.TempDir()
	r := mesh{"", 3, 1, 1, 1, 2, nil}.recipe(t, base, dir)
	ranks := startRanks(t, r, 3, func(rank int) []string {
		if rank == 2 {
			return []string{"GORUN_TEST_STOP=3"}
		}
		return nil
	})
	for i, err := range await(t, ranks) {
		if err != nil {
			t.Fatalf("rank %d: %v\n%s", i, err, ranks[i].stderr.String())
		}
	}
	if n := len(losses(t, dir)); n != 3 {
		t.Errorf("stopped after %d steps, want 3", n)
	}
	trainOn(t, r, 3)
	whole := t.TempDir()
	trainOn(t, mesh{"", 3, 1, 1, 1, 2, nil}.recipe(t, base, whole), 3)
	if !bytes.Equal(file(t, dir, "LATEST", "adapter_model.safetensors"), file(t, whole, "LATEST", "adapter_model.safetensors")) {
		t.Error("stopped and resumed: another adapter")
	}
}

// TestRankDies kills a rank as it begins each kind of collective, inside a program or outside: the others end with an error that names it, and soon.
func TestRankDies(t *testing.T) {
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	data := mesh{"", 4, 1, 1, 1, 1, []string{hsdp}}
	all := mesh{"", 1, 2, 2, 1, 1, nil}
	for at, m := range map[string]mesh{
		"all-gather block 1": data, "reduce-scatter block 0": data, "all-reduce totals": data, "all-reduce block 1": data,
		"all-reduce squares": all, "all-reduce attention output": all, "reduce-scatter gradients of keys and values": all,
	} {
		t.Run(at, func(t *testing.T) {
			ranks := startRanks(t, m.recipe(t, base, t.TempDir()), m.world(), nil)
			victim := ranks[2]
			for victim.events.Scan() {
				if line := victim.events.Text(); strings.Contains(line, `"op":"`+at+`"`) && strings.Contains(line, "begin") {
					break
				}
			}
			if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			died := time.Now()
			errs := await(t, ranks)
			if took := time.Since(died); took > 30*time.Second { // a collective may take ten minutes
				t.Errorf("the others took %s to notice", took)
			}
			for i, err := range errs {
				if said := ranks[i].stderr.String(); i != 2 && (err == nil || !strings.Contains(said, "rank 2 is gone") || !strings.Contains(said, "the last collectives")) {
					t.Errorf("rank %d: %v\n%s", i, err, said)
				}
			}
		})
	}
}

// TestPlaceFrom: the environment of torchrun, and every fault of it at once.
func TestPlaceFrom(t *testing.T) {
	env := map[string]string{"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "::1", "MASTER_PORT": "29500", "GORUN_JOB_KEY": strings.Repeat("ab", 32), "GORUN_GENERATION": "3"}
	p, err := PlaceFrom(func(n string) string { return env[n] })
	if err != nil || p.Rank != 1 || p.World != 2 || p.Local != 1 || p.Addr != "[::1]:29500" || len(p.Key) != 32 || p.Generation != 3 {
		t.Errorf("got %+v, %v", p, err)
	}
	env = map[string]string{"RANK": "x", "WORLD_SIZE": "2", "GORUN_JOB_KEY": "short"}
	_, err = PlaceFrom(func(n string) string { return env[n] })
	for _, want := range []string{`RANK = "x"`, "MASTER_ADDR", "GORUN_JOB_KEY: want 64 hexadecimal digits"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestDescribeRanks: what is printed before the first step counts the samples of all ranks and one rank's memory.
func TestDescribeRanks(t *testing.T) {
	base := tinyBase(t)
	job, err := PrepareAt(t.Context(), Place{Rank: 1, World: 4}, tinyRecipe(t, base, t.TempDir(), "distributed.dp_replicate_size=2"), asIs)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := job.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out strings.Builder
	if err := job.Describe(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4 ranks: dp_replicate 2 x dp_shard 2", "of 16 samples (2 rows x 2 micro-batches x 4 data-parallel ranks)", "of each rank: base 0.00", "gathered 0.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	for bad, want := range map[string]string{
		"distributed.dp_size=3": "makes 3 ranks, but there are 4", "distributed.dp_replicate_size=3": "4 ranks are no multiple",
		"distributed.cp_size=3": "4 ranks are no multiple", "distributed.tp_size=4": "2 key/value heads do not divide into 4",
	} {
		if _, err := PrepareAt(t.Context(), Place{World: 4}, tinyRecipe(t, base, t.TempDir(), bad), asIs); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s on 4 ranks: got %v, want %q", bad, err, want)
		}
	}
}
