package rank

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
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
	"gorun/model/safetensors"
	"gorun/tools/skip"
)

// rankRecipe names the recipe that a process of the tests trains as one of several ranks.
const rankRecipe = "GORUN_TEST_RECIPE"

// TestRankProcess is no test of its own: it is a rank, when another test starts this binary as one.
func TestRankProcess(t *testing.T) {
	path := os.Getenv(rankRecipe)
	if path == "" {
		return
	}
	cacheDir = os.Getenv("GORUN_TEST_CACHE")
	p, err := PlaceFrom(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	p.Events = os.Stdout
	r, err := configs.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	job, err := PrepareAt(p, r, asIs)
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
	err = job.Run(ctx, Options{Device: Device{Plugin: devicetest.Plugin(t), Cache: cacheDir}, Version: "test", Out: os.Stderr, Fault: os.Stderr})
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
		p.Env = append(os.Environ(), rankRecipe+"="+path, "GORUN_TEST_CACHE="+cacheDir, "MASTER_ADDR=127.0.0.1", "MASTER_PORT="+port,
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
	timeout := time.AfterFunc(90*time.Second, func() {
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

// meshes that train the same as one rank: ranks, dp_replicate_size, batch_size and grad_acc_steps, with the same global batch.
var meshes = []struct {
	name                        string
	world, replicate, rows, acc int
	more                        []string
}{
	{"dp2", 2, 1, 2, 2, nil},
	{"dp4", 4, 1, 2, 1, nil},
	{"hsdp2x2", 4, 2, 1, 2, nil},
	{"dp3 uneven", 3, 1, 1, 2, nil}, // 3 divides neither the hidden size 32 nor the adapters' dim 4
	{"ddp2 without reshard", 2, 2, 2, 2, []string{"distributed.reshard_after_forward=false"}},
	{"dp2 remat", 2, 1, 2, 2, []string{`distributed.activation_checkpointing="full"`, "distributed.reshard_after_forward=false"}},
}

// meshRecipe makes 10 steps with the same samples on every mesh.
func meshRecipe(t *testing.T, base, dir string, rows, acc, replicate int, more ...string) *configs.Recipe {
	t.Helper()
	r := tinyRecipe(t, base, dir, append([]string{fmt.Sprint("dataloader.batch_size=", rows), fmt.Sprint("step_scheduler.grad_acc_steps=", acc),
		fmt.Sprint("distributed.dp_replicate_size=", replicate), "step_scheduler.num_epochs=6", "step_scheduler.max_steps=10", "step_scheduler.val_every_steps=5"}, more...)...)
	return r
}

// closeLosses fails unless two runs' losses agree to 1e-6.
func closeLosses(t *testing.T, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d losses, want %d", len(got), len(want))
		return
	}
	for i := range got {
		if math.Abs(got[i]/want[i]-1) > 1e-6 {
			t.Errorf("step %d: loss %.9g, one rank's %.9g (%.2g apart)", i+1, got[i], want[i], got[i]/want[i]-1)
		}
	}
}

// TestMeshes: every mesh trains as one rank does: the same losses to 1e-6 over 10 steps, the same validation, and the same
// adapter or weights at the end.
func TestMeshes(t *testing.T) {
	skip.InShort(t, "every mesh against one rank, in processes")
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	for _, scheme := range []struct {
		name string
		set  []string
		file string
	}{
		{"lora", []string{"optimizer.lr=1e-3"}, "adapter_model.safetensors"},
		{"full", []string{"peft.scheme=none", "optimizer.lr=1e-4"}, "model.safetensors"},
	} {
		alone := map[int][]float64{}
		trained := map[int]string{}
		for _, m := range meshes {
			if scheme.name == "full" && m.more != nil {
				continue // reshard and remat are the same for any parameters
			}
			global := m.world * m.rows * m.acc
			if alone[global] == nil {
				trained[global] = t.TempDir()
				mustTrain(t, meshRecipe(t, base, trained[global], 2, global/2, 1, scheme.set...))
				alone[global] = losses(t, trained[global])
			}
			t.Run(scheme.name+" "+m.name, func(t *testing.T) {
				dir := t.TempDir()
				trainOn(t, meshRecipe(t, base, dir, m.rows, m.acc, m.replicate, append(slices.Clone(scheme.set), m.more...)...), m.world)
				closeLosses(t, losses(t, dir), alone[global])
				closeLosses(t, validations(t, dir), validations(t, trained[global]))
				sameTensors(t, filepath.Join(dir, "LATEST", scheme.file), filepath.Join(trained[global], "LATEST", scheme.file))
			})
		}
	}
}

// validations reads the losses of validation.jsonl.
func validations(t *testing.T, dir string) (out []float64) {
	t.Helper()
	for _, line := range strings.Split(string(file(t, dir, "validation.jsonl")), "\n") {
		if _, v, ok := strings.Cut(line, `"val_loss":`); ok {
			f, err := strconv.ParseFloat(v[:strings.IndexAny(v, ",}")], 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, f)
		}
	}
	return out
}

// sameTensors compares two files of float32 tensors. Adam divides a gradient by its size, so a gradient of rounding noise
// moves a weight as far as a real one: single elements may differ by some steps of the learning rate, the whole not.
func sameTensors(t *testing.T, got, want string) {
	t.Helper()
	a, _, err := safetensors.ReadAll(got)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := safetensors.ReadAll(want)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Fatalf("%d tensors, want %d", len(a), len(b))
	}
	for i := range a {
		x, y := floatsOf(a[i].Data), floatsOf(b[i].Data)
		var gap, size float64
		for k := range x {
			gap += (x[k] - y[k]) * (x[k] - y[k])
			size += y[k] * y[k]
		}
		if a[i].Name != b[i].Name || !(math.Sqrt(gap) <= 1e-4*math.Sqrt(size)) {
			t.Errorf("%s (want %s): differs by %.2g of its size", a[i].Name, b[i].Name, math.Sqrt(gap/size))
		}
	}
}

func floatsOf(b []byte) []float64 {
	out := make([]float64, len(b)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(uint32(b[4*i]) | uint32(b[4*i+1])<<8 | uint32(b[4*i+2])<<16 | uint32(b[4*i+3])<<24))
	}
	return out
}

// TestSameMeshTwice: the same mesh twice gives the same bytes.
func TestSameMeshTwice(t *testing.T) {
	skip.InShort(t, "a mesh twice, in processes")
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	var adapters [][]byte
	for range 2 {
		dir := t.TempDir()
		trainOn(t, meshRecipe(t, base, dir, 1, 1, 1), 3)
		adapters = append(adapters, file(t, dir, "LATEST", "adapter_model.safetensors"))
	}
	if !bytes.Equal(adapters[0], adapters[1]) {
		t.Error("other bytes")
	}
}

// TestResumeElsewhere: a run begun on 4 ranks goes on on 2 and ends on 1 as if it had been on one rank all along.
func TestResumeElsewhere(t *testing.T) {
	skip.InShort(t, "a run resumed on fewer ranks, in processes")
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	for _, set := range []string{"optimizer.lr=1e-3", "peft.scheme=none"} {
		whole, parts := t.TempDir(), t.TempDir()
		mustTrain(t, meshRecipe(t, base, whole, 2, 4, 1, set))
		for _, part := range []struct{ world, acc, until int }{{4, 1, 4}, {2, 2, 7}, {1, 4, 10}} {
			r := meshRecipe(t, base, parts, 2, part.acc, 1, set)
			r.StepScheduler.MaxSteps = part.until
			trainOn(t, r, part.world)
		}
		closeLosses(t, losses(t, parts), losses(t, whole))
	}
}

// TestStop: one rank of three is asked to stop; all end the same step, save, and leave without an error; what follows is
// as if they had not stopped.
func TestStop(t *testing.T) {
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	dir := t.TempDir()
	r := meshRecipe(t, base, dir, 1, 2, 1)
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
	trainOn(t, meshRecipe(t, base, whole, 1, 2, 1), 3)
	if !bytes.Equal(file(t, dir, "LATEST", "adapter_model.safetensors"), file(t, whole, "LATEST", "adapter_model.safetensors")) {
		t.Error("stopped and resumed: another adapter")
	}
}

// TestRankDies kills a rank as it begins each kind of collective: the others end with an error that names it, and soon.
func TestRankDies(t *testing.T) {
	devicetest.CPUOnly(t)
	base := tinyBase(t)
	for _, at := range []string{"all-gather block 1", "reduce-scatter block 0", "all-reduce totals", "all-reduce block 1"} {
		t.Run(at, func(t *testing.T) {
			ranks := startRanks(t, meshRecipe(t, base, t.TempDir(), 1, 1, 2), 4, nil)
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
			if took := time.Since(died); took > 10*time.Second {
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
	job, err := PrepareAt(Place{Rank: 1, World: 4}, tinyRecipe(t, base, t.TempDir(), "distributed.dp_replicate_size=2"), asIs)
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
	for _, want := range []string{"dp_replicate 2 x dp_shard 2", "of 16 samples (2 rows x 2 micro-batches x 4 ranks)", "gathered 0.00"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
	for _, bad := range []string{"distributed.dp_size=3", "distributed.dp_replicate_size=3", "dist_env.backend=nccl"} {
		if _, err := PrepareAt(Place{World: 4}, tinyRecipe(t, base, t.TempDir(), bad), asIs); err == nil {
			t.Errorf("%s: accepted for 4 ranks", bad)
		}
	}
}
