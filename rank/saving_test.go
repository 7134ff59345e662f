package rank

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSavingBehind: training goes on while a checkpoint is being written; the next checkpoint waits for it, and so does
// the end.
func TestSavingBehind(t *testing.T) {
	dir := t.TempDir()
	r := tinyRecipe(t, tinyBase(t), dir, "step_scheduler.ckpt_every_steps=2", "checkpoint.keep=0")
	job := prepare(t, r)
	// Whoever looks through the checkpoints stands still at this one until somebody writes to its manifest.
	blocked := filepath.Join(dir, "epoch_0_step_0")
	pipe := filepath.Join(blocked, "manifest.json")
	var out bytes.Buffer
	watch := writerFunc(func(b []byte) (int, error) {
		out.Write(b)
		switch {
		case bytes.Contains(b, []byte("step 1/8")):
			if err := os.Mkdir(blocked, 0o755); err != nil {
				t.Error(err)
			}
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Error(err)
			}
		case bytes.Contains(b, []byte("step 3/8")):
			if strings.Contains(out.String(), "saved") {
				t.Errorf("saved although it could not be:\n%s", out.String())
			}
			if err := os.WriteFile(pipe, nil, 0); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(blocked); err != nil {
				t.Error(err)
			}
		}
		return len(b), nil
	})
	if err := job.Run(context.Background(), Options{Device: testDevice(t), Version: "test", Out: watch}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	for _, step := range []string{"step_2", "step_4", "step_6", "step_8"} {
		if n := strings.Count(text, step+" (written in "); n != 1 {
			t.Errorf("%s was saved %d times\n%s", step, n, text)
		}
	}
	if strings.Index(text, "step_2 (written") < strings.Index(text, "step 3/8") {
		t.Errorf("training waited for the checkpoint:\n%s", text)
	}
	if last, err := os.Readlink(filepath.Join(dir, "LATEST")); err != nil || !strings.HasSuffix(last, "step_8") {
		t.Errorf("LATEST is %s (%v)", last, err)
	}
}

// TestSavingFails: a checkpoint that cannot be written ends the run soon, with the reason, and what was saved before stays.
func TestSavingFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	aside := dir + "-aside"
	r := tinyRecipe(t, tinyBase(t), dir, "step_scheduler.ckpt_every_steps=2", "step_scheduler.num_epochs=20")
	job := prepare(t, r)
	var out bytes.Buffer
	watch := writerFunc(func(b []byte) (int, error) {
		out.Write(b)
		if bytes.Contains(b, []byte("saved")) && strings.Count(out.String(), "saved") == 1 {
			if err := os.Rename(dir, aside); err != nil {
				t.Error(err)
			}
		}
		return len(b), nil
	})
	err := job.Run(context.Background(), Options{Device: testDevice(t), Version: "test", Out: watch})
	if err == nil || !strings.Contains(err.Error(), "save checkpoint of step") || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("the error is %v", err)
	}
	if strings.Contains(out.String(), "step 9/") {
		t.Errorf("the run went on:\n%s", out.String())
	}
	if file(t, aside, "LATEST", "manifest.json") == nil {
		t.Error("the checkpoint before is lost")
	}
}
