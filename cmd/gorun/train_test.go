package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gorun/csrc/device/devicetest"
)

// copySelf puts this program into a folder under the name by which testscript.Main takes it for gorun, also where it starts
// itself as a rank.
func copySelf(t *testing.T, dir string) (program string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close() //nolint:errcheck // only read
	program = filepath.Join(dir, "gorun")
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		t.Fatal(err)
	}
	return program
}

// lesson is a folder with a model, data for more steps than any test waits for, and a recipe, ready for a gorun process.
func lesson(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{}
	for name, data := range tinyModel(t) {
		files[filepath.Join("base", name)] = data
	}
	files["data.jsonl"] = bytes.Repeat([]byte(`{"question":"How many?","answer":"Seven."}`+"\n"), 8)
	files["recipe.toml"] = []byte(`
[model]
pretrained_model_name_or_path = "base"
dtype = "f32"
[dataset]
kind = "columns"
path_or_id = "data.jsonl"
[step_scheduler]
num_epochs = 1000000
[checkpoint]
dir = "run"
`)
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestUnread: training whose output nobody reads any more, alone or with ranks, goes on until it is asked to stop, here by
// the end of the terminal, and then saves.
func TestUnread(t *testing.T) {
	program := copySelf(t, t.TempDir())
	for _, ranks := range []int{1, 2} {
		t.Run(fmt.Sprint(ranks), func(t *testing.T) {
			dir := lesson(t)
			var faults strings.Builder
			c := exec.CommandContext(t.Context(), program, "--device=cpu", fmt.Sprintf("--gpus=%d", ranks), "recipe.toml")
			c.Dir, c.Stderr = dir, &faults
			c.Env = append(os.Environ(), "PJRT_PLUGIN_LIBRARY_PATH="+devicetest.Plugin(t), "GORUN_CACHE="+t.TempDir())
			out, err := c.StdoutPipe()
			if err == nil {
				err = c.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for lines.Scan() && !strings.Contains(lines.Text(), "step 2/") {
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			records := filepath.Join(dir, "run", "training.jsonl")
			for steps := 0; steps < 20 && t.Context().Err() == nil; { // several more, each with a line that nobody reads
				written, err := os.ReadFile(records)
				if err != nil {
					t.Fatalf("%v\n%s", err, faults.String())
				}
				time.Sleep(10 * time.Millisecond)
				steps = bytes.Count(written, []byte("\n"))
			}
			if err := c.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				t.Errorf("%v\n%s", err, faults.String())
			}
			if _, err := os.Stat(filepath.Join(dir, "run", "LATEST", "manifest.json")); err != nil {
				t.Errorf("nothing is saved: %v\n%s", err, faults.String())
			}
		})
	}
}
