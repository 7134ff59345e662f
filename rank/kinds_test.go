package rank

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/configs"
)

// TestPacked: samples that share rows train as they do apart, dropout included, and a packed run that was stopped goes on
// to the same bytes.
func TestPacked(t *testing.T) {
	base := tinyBase(t)
	apart, together := t.TempDir(), t.TempDir()
	const all = "step_scheduler.grad_acc_steps=1"
	mustTrain(t, tinyRecipe(t, base, apart, all, "dataloader.batch_size=15"))
	out := mustTrain(t, tinyRecipe(t, base, together, all, "dataloader.batch_size=3", "packed_sequence.packed_sequence_size=256"))
	want, got := losses(t, apart), losses(t, together)
	if len(want) != 2 || len(got) != 2 || math.Abs(got[0]/want[0]-1) > 1e-5 || math.Abs(got[1]/want[1]-1) > 1e-4 {
		t.Errorf("packed losses %v, want %v\n%s", got, want, out)
	}

	whole, parts := t.TempDir(), t.TempDir()
	r := tinyRecipe(t, base, whole, "step_scheduler.grad_acc_steps=1", "dataloader.batch_size=1", "packed_sequence.packed_sequence_size=128", "step_scheduler.num_epochs=3")
	mustTrain(t, r)
	steps := len(losses(t, whole))
	for _, stop := range []int{1, steps/3 + 1, steps - 1} {
		r.Checkpoint.Dir, r.StepScheduler.MaxSteps = parts, stop
		mustTrain(t, r)
	}
	r.StepScheduler.MaxSteps = 0
	mustTrain(t, r)
	if !bytes.Equal(file(t, parts, "LATEST", "adapter_model.safetensors"), file(t, whole, "LATEST", "adapter_model.safetensors")) {
		t.Error("resumed: another adapter")
	}
	if got := losses(t, parts); fmt.Sprint(got) != fmt.Sprint(losses(t, whole)) {
		t.Errorf("resumed: losses %v, want %v", got, losses(t, whole))
	}

	var plan bytes.Buffer
	job, err := Prepare(t.Context(), tinyRecipe(t, base, parts, "packed_sequence.packed_sequence_size=128"), asIs)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(job.Describe(&plan), job.Close()); err != nil || !strings.Contains(plan.String(), "15 samples in ") || !strings.Contains(plan.String(), " rows of 128 tokens, ") {
		t.Errorf("plan: %v\n%s", err, plan.String())
	}
	_, err = Prepare(t.Context(), tinyRecipe(t, base, parts, "packed_sequence.packed_sequence_size=20"), asIs)
	if err == nil || !strings.Contains(err.Error(), "data.jsonl:1: ") || !strings.Contains(err.Error(), "longer than seq_length 20") {
		t.Errorf("rows too short: %v", err)
	}
}

// TestChat: conversations, packed, with two validation sets of other kinds, are made ready and shown; questions before
// and after training are asked in the template's words.
func TestChat(t *testing.T) {
	base := tinyBase(t)
	const template = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ '</s>' }}{% endfor %}{{ 'assistant: ' if add_generation_prompt }}"
	talk := `{"messages":[{"role":"user","content":"What is 1?"},{"role":"assistant","content":"one"},{"role":"user","content":"And 2?"},{"role":"assistant","content":"two"}]}` + "\n"
	talkPath := filepath.Join(t.TempDir(), "talk.jsonl")
	for path, text := range map[string]string{filepath.Join(base, "chat_template.jinja"): template, talkPath: strings.Repeat(talk, 9)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := configs.Parse("test", []byte(fmt.Sprintf(`
[model]
pretrained_model_name_or_path = %q
dtype = "f32"
[peft]
dim = 4
[dataset]
kind = "chat"
path_or_id = %q
[packed_sequence]
packed_sequence_size = 128
[dataloader]
batch_size = 1
[validation_dataset.questions]
kind = "squad"
chat_template = true
path_or_id = %q
[validation_dataset.talk]
path_or_id = %q
limit_dataset_samples = 2
[generate_samples]
num_samples = 1
max_new_tokens = 2
[checkpoint]
dir = %q
`, base, talkPath, tinyData(t, 3), talkPath, t.TempDir())), nil)
	if err != nil {
		t.Fatal(err)
	}
	job, err := Prepare(t.Context(), r, asIs)
	if err != nil {
		t.Fatal(err)
	}
	var plan bytes.Buffer
	err = job.Describe(&plan)
	if err := job.ShowSamples(&plan, 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(err, job.Close()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"9 samples in ", "user: What is 1?</s>assistant: [[one</s>]]user: And 2?</s>assistant:[[ two</s>]]", "(validation): 3 samples", "(validation): 2 samples"} {
		if !strings.Contains(plan.String(), want) {
			t.Errorf("no %q in the plan:\n%s", want, plan.String())
		}
	}
	if out := mustTrain(t, r); !strings.Contains(out, "questions") || !strings.Contains(out, "before | Q: What is 0?") {
		t.Errorf("training prints\n%s", out)
	}
}
