package rank

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/rank/metrics"
)

// TestRecords: a run with every kind of record, stopped and let go on, leaves each step once, its answers before and
// after, what ran where, and a report.
func TestRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := tinyRecipe(t, tinyBase(t), dir, "step_scheduler.max_steps=2", "logging.tensorboard=true", "logging.wandb.project=p",
		"logging.prometheus=127.0.0.1:0", "generate_samples.num_samples=2", `generate_samples.prompts=["The number"]`, "generate_samples.max_new_tokens=3")
	mustTrain(t, r)
	r.StepScheduler.MaxSteps = 4
	mustTrain(t, r)

	var samples []string
	for line := range bytes.Lines(file(t, dir, metrics.SamplesFile)) {
		var s metrics.SampleRecord
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		samples = append(samples, fmt.Sprintf("%s %d %d", s.When, s.Step, len(s.Gold)))
	}
	if got, want := strings.Join(samples, ", "), "before 0 1, before 0 1, before 0 0, after 2 1, after 2 1, after 2 0, after 4 1, after 4 1, after 4 0"; got != want {
		t.Errorf("samples.jsonl has %s\nwant %s", got, want)
	}
	var e metrics.Environment
	if err := json.Unmarshal(file(t, dir, metrics.EnvironmentFile), &e); err != nil {
		t.Fatal(err)
	}
	if e.Gorun != "test" || e.Platform == "" || e.CPUs < 1 || e.ResumeStep != 2 || len(e.Facts) < 5 || e.Facts[0].Name != "model" || e.Started.IsZero() {
		t.Errorf("environment.json: %+v", e)
	}
	report := string(file(t, dir, metrics.ReportFile))
	for _, want := range []string{"step 4\nloss ", "The number", e.Facts[0].Text, "tensorboard = true"} {
		if !strings.Contains(report, want) {
			t.Errorf("%q is not in the report", want)
		}
	}
	for pattern, want := range map[string]int{"tensorboard/events.out.tfevents.*": 2, "wandb/offline-run-*/run-*.wandb": 1} {
		if found, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(found) != want {
			t.Errorf("%s: %v, %v, want %d", pattern, found, err, want)
		}
	}
}

// TestRecordsElsewhere: with a folder for the logs, a run without checkpoints has its records and recipe there.
func TestRecordsElsewhere(t *testing.T) {
	checkpoints, logs := filepath.Join(t.TempDir(), "checkpoints"), filepath.Join(t.TempDir(), "logs")
	mustTrain(t, tinyRecipe(t, tinyBase(t), checkpoints, "step_scheduler.max_steps=1", "checkpoint.enabled=false", "logging.dir="+logs))
	for _, name := range []string{metrics.TrainingFile, metrics.EnvironmentFile, metrics.RecipeFile, metrics.ReportFile} {
		file(t, logs, name)
	}
	if _, err := os.Stat(checkpoints); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want nothing there", checkpoints, err)
	}
}

// TestPortInUse: an address that cannot be served ends the run before its first step.
func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	r := tinyRecipe(t, tinyBase(t), dir, "logging.prometheus="+taken.Addr().String())
	if _, err := train(t.Context(), t, r); err == nil || !strings.Contains(err.Error(), "logging.prometheus") {
		t.Errorf("got %v, want logging.prometheus named", err)
	}
	if _, err := os.Stat(filepath.Join(dir, metrics.TrainingFile)); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want none", metrics.TrainingFile, err)
	}
}
