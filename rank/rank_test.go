package rank

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
	"gorun/model/infer"
	"gorun/model/safetensors"
	"gorun/model/spec"
	"gorun/model/tinymodel"
)

func TestMain(m *testing.M) {
	if os.Getenv("GORUN_TEST_DEVICE") == "" && os.Getenv("XLA_FLAGS") == "" {
		// On the CPU most of the time goes into compiling: quickly rather than well, here and in processes of tests.
		if err := os.Setenv("XLA_FLAGS", "--xla_backend_optimization_level=0"); err != nil {
			panic(err)
		}
	}
	devicetest.Main(m)
}

func mustTrain(t *testing.T, r *configs.Recipe) string {
	t.Helper()
	out, err := train(context.Background(), t, r)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func file(t *testing.T, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// stepRecord is what tests read of a line of training.jsonl.
type stepRecord struct {
	Step   int
	Loss   float64
	MemGiB float64 `json:"mem_gib"`
}

// stepsOf reads training.jsonl, which has a line for each step.
func stepsOf(t *testing.T, dir string) (out []stepRecord) {
	t.Helper()
	for line := range bytes.Lines(file(t, dir, "training.jsonl")) {
		var r stepRecord
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if out = append(out, r); r.Step != len(out) {
			t.Fatalf("step %d in line %d", r.Step, len(out))
		}
	}
	return out
}

// losses are those of training.jsonl.
func losses(t *testing.T, dir string) (out []float64) {
	t.Helper()
	for _, s := range stepsOf(t, dir) {
		out = append(out, s.Loss)
	}
	return out
}

// TestAfresh: a run that cannot go on changes nothing in the folder; one that begins afresh there leaves the checkpoints of
// before whole, in a folder of their own.
func TestAfresh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := tinyRecipe(t, tinyBase(t), dir, "step_scheduler.max_steps=1")
	mustTrain(t, r)
	adapter, recipe := file(t, dir, "LATEST", "adapter_model.safetensors"), file(t, dir, "recipe.toml")
	r.PEFT.Dim, r.StepScheduler.MaxSteps = 2, 2
	if _, err := train(t.Context(), t, r); err == nil || !strings.Contains(err.Error(), "not of shape [2 32]: put back what has changed (peft.dim: 2, was 4), or begin afresh") {
		t.Errorf("another dim: %v", err)
	}
	if !bytes.Equal(file(t, dir, "recipe.toml"), recipe) {
		t.Error("a run that could not go on has left its recipe")
	}
	r.Checkpoint.Resume, r.StepScheduler.MaxSteps = "never", 1
	if out := mustTrain(t, r); !strings.Contains(out, "1 checkpoint of before, which this run does not build on, now in "+filepath.Join(dir, "earlier.1")) {
		t.Errorf("it does not say what became of the checkpoint of before:\n%s", out)
	}
	if !bytes.Equal(file(t, dir, "earlier.1", "LATEST", "adapter_model.safetensors"), adapter) {
		t.Error("another adapter where the checkpoint of before should be")
	}
	if bytes.Equal(file(t, dir, "LATEST", "adapter_model.safetensors"), adapter) || bytes.Equal(file(t, dir, "recipe.toml"), recipe) {
		t.Error("the new run left nothing")
	}
}

// TestTrain: training lowers the loss; the same seed gives the same bytes; a run that was resumed, or interrupted and
// resumed, ends in the same bytes as one that never stopped.
func TestTrain(t *testing.T) {
	base := tinyBase(t)
	whole := t.TempDir()
	r := tinyRecipe(t, base, whole)
	out := mustTrain(t, r)
	all := losses(t, whole)
	if len(all) != 8 || all[7] > 0.8*all[0] {
		t.Errorf("losses %v\n%s", all, out)
	}
	if n := bytes.Count(file(t, whole, "validation.jsonl"), []byte("\n")); n != 2 {
		t.Errorf("%d validations, want 2", n)
	}
	adapter := file(t, whole, "LATEST", "adapter_model.safetensors")
	if !bytes.Contains(file(t, whole, "LATEST", "adapter_config.json"), []byte(`"q_proj"`)) {
		t.Error("adapter_config.json does not name q_proj")
	}

	same := func(name, dir string) {
		t.Helper()
		if !bytes.Equal(file(t, dir, "LATEST", "adapter_model.safetensors"), adapter) {
			t.Errorf("%s: another adapter", name)
		}
		if got := losses(t, dir); fmt.Sprint(got) != fmt.Sprint(all) {
			t.Errorf("%s: losses %v, want %v", name, got, all)
		}
	}
	again := t.TempDir()
	r.Checkpoint.Dir = again
	mustTrain(t, r)
	same("again", again)

	// Stopped by max_steps at an uneven place, then let go on.
	parts := t.TempDir()
	r.Checkpoint.Dir, r.StepScheduler.MaxSteps = parts, 3
	mustTrain(t, r)
	r.StepScheduler.MaxSteps = 0
	if out := mustTrain(t, r); !strings.Contains(out, "resuming from") || !strings.Contains(out, "max_steps") {
		t.Errorf("resume does not say so:\n%s", out)
	}
	same("resumed", parts)
	if out := mustTrain(t, r); !strings.Contains(out, "nothing to do") {
		t.Errorf("a complete run does not say so:\n%s", out)
	}

	// Interrupted while running.
	cut := t.TempDir()
	r.Checkpoint.Dir = cut
	job := prepare(t, r)
	ctx, cancel := context.WithCancel(context.Background())
	var said bytes.Buffer
	watch := writerFunc(func(b []byte) (int, error) {
		said.Write(b)
		if bytes.Contains(b, []byte("step 2/8")) {
			cancel()
		}
		return len(b), nil
	})
	err := job.Run(ctx, Options{Device: testDevice(t), Out: watch})
	if !errors.Is(err, context.Canceled) || !regexp.MustCompile(`\nstopped as asked, after step [23], which is saved\n`).Match(said.Bytes()) {
		t.Errorf("interrupted: %v\n%s", err, said.String())
	}
	if err := job.Close(); err != nil {
		t.Error(err)
	}
	if n := len(losses(t, cut)); n < 2 || n > 3 {
		t.Errorf("interrupted after %d steps", n)
	}
	mustTrain(t, r)
	same("interrupted", cut)

	// Interrupted before.
	r.Checkpoint.Dir = t.TempDir()
	job = prepare(t, r)
	said.Reset()
	if err := job.Run(ctx, Options{Device: testDevice(t), Out: &said}); !errors.Is(err, ErrStopped) || !strings.Contains(said.String(), "stopped as asked, before the first step\n") {
		t.Errorf("interrupted before: %v\n%s", err, said.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var _ io.Writer = writerFunc(nil)

// TestFull trains all weights; what it saves is a model with Hugging Face's names, and resuming is exact.
func TestFull(t *testing.T) {
	base := tinyBase(t)
	whole, parts := t.TempDir(), t.TempDir()
	r := tinyRecipe(t, base, whole, "peft.scheme=none", "optimizer.lr=0.003")
	mustTrain(t, r)
	all := losses(t, whole)
	if all[7] > 0.8*all[0] {
		t.Errorf("losses %v", all)
	}
	tensors, _, err := safetensors.ReadAll(filepath.Join(whole, "LATEST", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := spec.Parse([]byte(tinymodel.Llama))
	if err != nil {
		t.Fatal(err)
	}
	if len(tensors) != len(d.Tensors()) {
		t.Errorf("%d tensors saved, the model has %d", len(tensors), len(d.Tensors()))
	}
	r.Checkpoint.Dir, r.StepScheduler.MaxSteps = parts, 5
	mustTrain(t, r)
	r.StepScheduler.MaxSteps = 0
	mustTrain(t, r)
	if !bytes.Equal(file(t, parts, "LATEST", "model.safetensors"), file(t, whole, "LATEST", "model.safetensors")) {
		t.Error("resumed: other weights")
	}
}

// TestWithoutOptimizer: a checkpoint without the optimizer's state is whole, and starts a run but continues none.
func TestWithoutOptimizer(t *testing.T) {
	base, dir := tinyBase(t), t.TempDir()
	without := []string{"checkpoint.save_optimizer=false", "step_scheduler.max_steps=2"}
	mustTrain(t, tinyRecipe(t, base, dir, without...))
	if _, err := train(context.Background(), t, tinyRecipe(t, base, dir)); err == nil || !strings.Contains(err.Error(), "holds no optimizer state") {
		t.Errorf("got %v", err)
	}
	mustTrain(t, tinyRecipe(t, base, t.TempDir(), append(without, fmt.Sprintf("peft.init_from=%q", filepath.Join(dir, "LATEST")))...))
}

// TestInitFrom starts from a trained adapter: the first loss is near the last one before, and the shape is the adapter's.
func TestInitFrom(t *testing.T) {
	base := tinyBase(t)
	first, second := t.TempDir(), t.TempDir()
	mustTrain(t, tinyRecipe(t, base, first))
	adapter, err := filepath.EvalSymlinks(filepath.Join(first, "LATEST"))
	if err != nil {
		t.Fatal(err)
	}
	mustTrain(t, tinyRecipe(t, base, second, "peft.init_from="+adapter, "step_scheduler.max_steps=1", "optimizer.lr=0"))
	a, b := losses(t, first), losses(t, second)
	if b[0] > 0.7*a[0] {
		t.Errorf("first loss %g, without the adapter %g", b[0], a[0])
	}
	if !bytes.Equal(file(t, first, "LATEST", "adapter_model.safetensors"), file(t, second, "LATEST", "adapter_model.safetensors")) {
		t.Error("a step with rate 0 changed the adapter")
	}
}

// TestSession: scoring agrees with generation's own log-probabilities.
func TestSession(t *testing.T) {
	base, err := OpenBase(tinyBase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := OpenSession(testDevice(t), base, "f32", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	prompt, err := base.Encode("The number of")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Generate(context.Background(), infer.Request{Prompts: [][]int32{prompt, prompt[:2]}, MaxTokens: 5, LogProbs: 3})
	if err != nil {
		t.Fatal(err)
	}
	for row, n := range []int{len(prompt), 2} {
		ids := append(append([]int32(nil), prompt[:n]...), got[row].IDs()...)
		want, err := s.scoreIDs(context.Background(), ids)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range got[row].Steps {
			if w := float64(want[n-1+i]); math.Abs(step.LogProb-w) > 1e-4 {
				t.Errorf("row %d token %d: generated with %.6f, scored %.6f", row, i, step.LogProb, w)
			}
			if step.ID != step.Likeliest[0].ID {
				t.Errorf("greedy took %d, the likeliest is %d", step.ID, step.Likeliest[0].ID)
			}
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.scoreIDs(stopped, prompt); !errors.Is(err, context.Canceled) {
		t.Errorf("scoring what is not wanted any more: %v", err)
	}
}

// TestPrepareRefuses: mistakes are named before any device is touched.
func TestPrepareRefuses(t *testing.T) {
	base := tinyBase(t)
	for set, want := range map[string]string{
		`peft.target_modules=["*_prj"]`:                  "_prj",
		"distributed.tp_size=2":                          "tp of 2 ranks, but there are 1",
		"dataset.seq_length=100000":                      "beyond the model's 256 positions",
		"dataset.seq_length=8":                           "longer than seq_length 8",
		"dataset.kind=chat":                              "dataset.kind",
		"lr_scheduler.warmup_steps=9":                    "lr_scheduler.warmup_steps",
		"model.pretrained_model_name_or_path=/nowhere/x": "/nowhere/x",
	} {
		r := configsOrNil(t, base, set)
		if r == nil {
			continue // refused by configs itself
		}
		job, err := Prepare(t.Context(), r, asIs)
		if err == nil {
			t.Errorf("%s: accepted", set)
			_ = job.Close()
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", set, err, want)
		}
	}
}

func configsOrNil(t *testing.T, base, set string) *configs.Recipe {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("[model]\npretrained_model_name_or_path = %q\n[peft]\ndim = 4\n[dataset]\nkind = \"squad\"\npath_or_id = %q\n[checkpoint]\ndir = %q\n", base, tinyData(t, 3), dir)
	r, err := configs.Parse("test", []byte(text), []string{set})
	if err != nil {
		return nil
	}
	return r
}

func TestInitA(t *testing.T) {
	for kind, std := range map[string]float64{"kaiming": 1 / math.Sqrt(3*400), "xavier": math.Sqrt(2.0 / 416)} {
		a, err := initA(kind, 1, "m", 16, 400)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range a {
			sum += float64(v) * float64(v)
		}
		if got := math.Sqrt(sum / float64(len(a))); math.Abs(got/std-1) > 0.05 {
			t.Errorf("%s: standard deviation %g, want %g", kind, got, std)
		}
		b, err := initA(kind, 1, "n", 16, 400)
		if err != nil || b[0] == a[0] {
			t.Errorf("%s: two modules begin alike", kind)
		}
	}
	if _, err := initA("zero", 1, "m", 1, 1); err == nil {
		t.Error("an unknown rule passes")
	}
}
