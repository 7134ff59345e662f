package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gorun/csrc/device/devicetest"
	"gorun/tools/skip"
)

// The tests of this file talk to a real Slurm, that of tools/slurm/cluster.sh: 'make test-slurm' runs them.

// slurmBench is a folder with gorun, a model and a recipe.
type slurmBench struct {
	t            *testing.T
	dir, program string
	steps        int
}

func newSlurmBench(t *testing.T, steps int) *slurmBench {
	t.Helper()
	if os.Getenv("GORUN_SLURM_CLUSTER") == "" {
		skip.Because(t, "there is no Slurm for tests: run 'make test-slurm'")
	}
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", devicetest.Plugin(t))
	t.Setenv("GORUN_CACHE", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	b := &slurmBench{t: t, dir: t.TempDir(), steps: steps}
	b.program = copySelf(t, b.dir)
	model := tinyModel(t)
	t.Chdir(b.dir)
	for name, data := range model {
		b.write(filepath.Join("base", name), data)
	}
	var rows strings.Builder
	for i := range 64 {
		fmt.Fprintf(&rows, `{"id":"%d","context":"The number of %d is %d.","question":"What is %d?","answers":["%d"]}`+"\n", i, i, i*7%10, i, i*7%10)
	}
	b.write("data.jsonl", []byte(rows.String()))
	b.write("recipe.toml", fmt.Appendf(nil, `
[model]
pretrained_model_name_or_path = "base"
dtype = "f32"
[peft]
dim = 4
[dataset]
kind = "squad"
path_or_id = "data.jsonl"
[dataloader]
batch_size = 2
shuffle = true
[step_scheduler]
num_epochs = 100000
max_steps = %d
ckpt_every_steps = 0
[optimizer]
lr = 1e-2
[dist_env]
timeout_minutes = 5
`, steps))
	return b
}

func (b *slurmBench) write(name string, data []byte) {
	b.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

// do runs a program and returns what it prints.
func (b *slurmBench) do(name string, args ...string) string {
	b.t.Helper()
	out, err := exec.CommandContext(b.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// submit runs 'gorun sbatch --submit' and returns the job's number.
func (b *slurmBench) submit(run string, flags ...string) string {
	b.t.Helper()
	args := append([]string{"sbatch", "recipe.toml", "--device=cpu", "--set=checkpoint.dir=" + run, "--job-name=" + run, "--submit", "--output=" + run + ".out"}, flags...)
	out := b.do(b.program, args...)
	_, rest, ok := strings.Cut(out, "as job ")
	job, _, _ := strings.Cut(rest, ";")
	if !ok || job == "" {
		b.t.Fatalf("no job in %q", out)
	}
	b.t.Cleanup(func() {
		if b.t.Failed() {
			text, err := os.ReadFile(run + ".out")
			b.t.Logf("job %s said (%v):\n%s", job, err, text)
		}
	})
	return job
}

// field is a field of what Slurm says of a job.
func (b *slurmBench) field(job, name string) string {
	b.t.Helper()
	for word := range strings.FieldsSeq(b.do("scontrol", "--oneliner", "show", "job", job)) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

// until waits for something that takes a while on a busy machine.
func (b *slurmBench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s: not within 3 minutes; the jobs are\n%s", what, b.do("scontrol", "show", "job"))
		}
	}
}

// again waits until the job is in the queue again, and spares it most of the two minutes that Slurm lets such a job wait;
// the turn before it needs some of them to end.
func (b *slurmBench) again(job string) {
	b.t.Helper()
	b.until("the job is queued again", func() bool { return b.field(job, "Restarts") == "1" && b.field(job, "JobState") == "PENDING" })
	b.do("scontrol", "update", "JobId="+job, "StartTime=now+5seconds")
}

// losses are those of a run so far, by step. A step that was taken twice must have had the same loss both times.
func (b *slurmBench) losses(run string) map[int]float64 {
	b.t.Helper()
	out := map[int]float64{}
	f, err := os.Open(filepath.Join(run, "training.jsonl"))
	if errors.Is(err, os.ErrNotExist) {
		return out
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line struct {
			Step int
			Loss float64
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue // it is being written
		}
		if old, twice := out[line.Step]; twice && old != line.Loss {
			b.t.Errorf("%s: step %d has the losses %v and %v", run, line.Step, old, line.Loss)
		}
		out[line.Step] = line.Loss
	}
	return out
}

// TestSlurmRequeue: a job that is warned checkpoints, is queued again, and ends with the losses of a run that was not
// interrupted. Its ranks are spread over tasks in the ways that Slurm has.
func TestSlurmRequeue(t *testing.T) {
	b := newSlurmBench(t, 150)
	b.do(b.program, "recipe.toml", "--gpus=2", "--device=cpu", "--set=checkpoint.dir=whole")
	want := b.losses("whole")
	if len(want) != b.steps {
		t.Fatalf("the uninterrupted run has %d losses", len(want))
	}
	for run, flags := range map[string][]string{
		"agent": {"--gpus=2", "--cpus=2"},
		"tasks": {"--gpus=2", "--cpus=1", "--option=--ntasks-per-node=2"},
		"nodes": {"--nnodes=2", "--gpus=1", "--cpus=1"},
	} {
		t.Run(run, func(t *testing.T) { b.on(t).requeue(run, flags, want) })
	}
}

// on is the bench for a subtest.
func (b *slurmBench) on(t *testing.T) *slurmBench {
	c := *b
	c.t = t
	return &c
}

// requeue trains under Slurm, interrupts the job when it trains, and compares with the losses of another run.
func (b *slurmBench) requeue(run string, flags []string, want map[int]float64) {
	job := b.submit(run, flags...)
	b.until("the job trains", func() bool { return len(b.losses(run)) > 5 })
	b.do("scancel", "--signal=USR1", job)
	b.again(job)
	stoppedAt := len(b.losses(run))
	if stoppedAt >= b.steps {
		b.t.Error("the run was over when it was interrupted")
	}
	b.until("the job ends", func() bool { return b.field(job, "JobState") == "COMPLETED" })
	got := b.losses(run)
	for step, loss := range want {
		if got[step] != loss {
			b.t.Errorf("step %d has the loss %v, and %v without an interruption", step, got[step], loss)
		}
	}
	b.t.Logf("stopped after step %d, %d steps in all", stoppedAt, len(got))
}

// TestSlurmLimit: the warning before the job's limit comes by itself and leads to another turn; a job that is cancelled
// checkpoints and is not queued again.
func TestSlurmLimit(t *testing.T) {
	b := newSlurmBench(t, 1<<20)
	// Slurm looks at limits twice a minute, and warns a job at the look after which it could be late.
	job := b.submit("run", "--gpus=1", "--cpus=1", "--time=2", "--warning=60")
	b.again(job)
	b.until("it trains again", func() bool { return b.field(job, "JobState") == "RUNNING" })
	first := len(b.losses("run"))
	b.until("it goes on", func() bool { return len(b.losses("run")) > first+5 })
	b.do("scancel", job)
	b.until("it ends", func() bool { return b.field(job, "JobState") == "CANCELLED" && b.field(job, "EndTime") != "Unknown" })
	out, err := os.ReadFile("run.out")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"queued again, and goes on from its last checkpoint", "resuming from", "stopped as asked"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the job's output has no %q:\n%s", want, out)
		}
	}
	time.Sleep(2 * time.Second) // time enough for a job to be queued again
	if state, restarts := b.field(job, "JobState"), b.field(job, "Restarts"); state != "CANCELLED" || restarts != "1" {
		t.Errorf("the cancelled job is %s after %s restarts", state, restarts)
	}
}

// TestSlurmPreempted: a job that has to make room for another one checkpoints in its time of grace, and is queued again.
func TestSlurmPreempted(t *testing.T) {
	b := newSlurmBench(t, 1<<20)
	job := b.submit("run", "--gpus=1", "--partition=low")
	b.until("the job trains", func() bool { return len(b.losses("run")) > 5 })
	b.do("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
	b.again(job)
	b.until("it resumes", func() bool {
		out, err := os.ReadFile("run.out")
		return err == nil && strings.Contains(string(out), "resuming from")
	})
	b.do("scancel", job)
}

// TestSlurmDoctor: the nodes of a step are examined together, and the first one's task reports.
func TestSlurmDoctor(t *testing.T) {
	b := newSlurmBench(t, 1)
	out := b.do("srun", "--nodes=2", "--ntasks-per-node=1", b.program, "doctor", "--device=cpu", "--shared=.")
	for _, want := range []string{"n1: reaching others: all nodes answer", "n2: reaching others: all nodes answer", "ok    plugin: the same on all 2 nodes"} {
		if strings.Count(out, want) != 1 {
			t.Errorf("%q is not once in\n%s", want, out)
		}
	}
}
