package netns

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/tools/skip"
)

const trainRecipe = `
[step_scheduler]
global_batch_size = 2
num_epochs = 3
ckpt_every_steps = 1
[model]
pretrained_model_name_or_path = "mock:smollm2-135m"
dtype = "f32"
[peft]
scheme = "lora"
dim = 4
[dataset]
kind = "mock"
seq_length = 16
num_samples = 2
[dataloader]
batch_size = 1
[optimizer]
lr = 1e-3
[checkpoint]
resume = "auto"
`

// TestTrain trains with the real program (GORUN_BIN): two ranks on one node, and one on each of two, have the same
// losses to the last bit, although on two nodes a rank is killed after the first step and the run starts again.
func TestTrain(t *testing.T) {
	gorun := os.Getenv("GORUN_BIN")
	if gorun == "" {
		skip.Because(t, "`make test-netns` runs it")
	}
	if err := Possible(); err != nil {
		skip.Because(t, "no network namespaces here: "+err.Error())
	}
	lab, err := NewLab("train", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	recipe := filepath.Join(dir, "recipe.toml")
	if err := os.WriteFile(recipe, []byte(trainRecipe), 0o600); err != nil {
		t.Fatal(err)
	}
	line := func(run string, flags ...string) []string {
		return append(append([]string{gorun, "--device=cpu"}, flags...), recipe, "--set=checkpoint.dir="+filepath.Join(dir, run))
	}
	one, _ := train(t, filepath.Join(dir, "one"), nil, lab.Command(0, "node0", nil, line("one", "--gpus=2")...))
	flags := []string{"--nnodes=2", "--rdzv-endpoint=" + Addr(0), "--max-restarts=1"}
	killOne := func() {
		saved := filepath.Join(dir, "two", "epoch_1_step_1")
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(saved); err == nil {
				break
			}
		}
		if err := syscall.Kill(rankPID(t, "1"), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	two, said := train(t, filepath.Join(dir, "two"), killOne, lab.Command(0, "node0", nil, line("two", flags...)...), lab.Command(1, "node1", nil, line("two", flags...)...))
	if len(one) != 3 || !slices.Equal(one, two) {
		t.Errorf("one node has the losses %q, two have %q", one, two)
	}
	if !strings.Contains(said, "was killed by SIGKILL") || !strings.Contains(said, "; restarting") {
		t.Errorf("the first node does not tell of the restart:\n%s", said)
	}
	t.Logf("losses on one node and on two: %s", strings.Join(one, " "))
}

// trainMark is in the environment of all processes of TestTrain.
var trainMark = fmt.Sprintf("GORUN_LAB_MARK=train-%d", os.Getpid())

// rankPID is the process id of one of the ranks.
func rankPID(t *testing.T, rank string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), trainMark+"\x00") && strings.Contains(string(b), "\x00RANK="+rank+"\x00") {
			return number(t, filepath.Base(filepath.Dir(file)))
		}
	}
	t.Errorf("rank %s has no process", rank)
	return 0
}

var lossOf = regexp.MustCompile(`"loss":[0-9.e+-]+`)

// train runs the agents to their end, with something that happens meanwhile, and returns the losses that the run has
// written down and what the first agent has said.
func train(t *testing.T, dir string, meanwhile func(), agents ...*exec.Cmd) (losses []string, said string) {
	t.Helper()
	outs := make([]bytes.Buffer, len(agents))
	for i, a := range agents {
		a.Env = append(os.Environ(), "GORUN_JOB_KEY="+strings.Repeat("5a", 32), trainMark)
		a.Stdout, a.Stderr = &outs[i], &outs[i]
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		hung := time.AfterFunc(2*time.Minute, func() { _ = a.Process.Kill() }) // Wait tells
		defer hung.Stop()
	}
	if meanwhile != nil {
		meanwhile()
	}
	for i, a := range agents {
		if err := a.Wait(); err != nil {
			t.Errorf("node %d: %v:\n%s", i, err, &outs[i])
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "training.jsonl"))
	if err != nil {
		t.Fatal(fmt.Errorf("%w: the first node has said:\n%s", err, &outs[0]))
	}
	return lossOf.FindAllString(string(b), -1), outs[0].String()
}
