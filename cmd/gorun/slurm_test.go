package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/launcher/slurm"
)

// task makes this process's environment that of a task of a step with two nodes, and returns what the flags become.
func task(t *testing.T, node string, edit func(*launchFlags)) (*launchFlags, error) {
	t.Helper()
	for name, value := range map[string]string{
		"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_PROCID": node, "SLURM_LOCALID": "0", "SLURM_NODEID": node, "SLURM_STEP_NODELIST": "n[1-2]",
		"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_RESTART_COUNT": "1", "GORUN_JOB_KEY": "",
	} {
		t.Setenv(name, value)
	}
	f := &launchFlags{nodeFlags: nodeFlags{Nnodes: "1"}}
	edit(f)
	_, err := f.underSlurm(newApp(globals{Device: "cpu"}, strings.NewReader(""), io.Discard, io.Discard))
	return f, err
}

// TestUnderSlurm: without a flag, the nodes of a step know where and as what they meet, and share a key.
func TestUnderSlurm(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	asIs := func(*launchFlags) {}
	first, err := task(t, "0", asIs)
	if err != nil {
		t.Fatal(err)
	}
	second, err := task(t, "1", asIs)
	if err != nil {
		t.Fatal(err)
	}
	if first.Nnodes != "2" || first.RdzvEndpoint != "n1:15018" || first.RdzvID != "slurm-17.0-1" || *first.NodeRank != 0 || *second.NodeRank != 1 {
		t.Errorf("the first node's flags are %+v", first.nodeFlags)
	}
	if second.RdzvEndpoint != first.RdzvEndpoint || second.RdzvID != first.RdzvID || len(first.key) == 0 || !bytes.Equal(first.key, second.key) {
		t.Errorf("the nodes' flags are %+v and %+v", first.nodeFlags, second.nodeFlags)
	}
}

// TestUnderSlurmFlags: what the user says stands.
func TestUnderSlurmFlags(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	f, err := task(t, "1", func(f *launchFlags) { f.RdzvEndpoint, f.RdzvID, f.KeyFile = "gate", "mine", "file" })
	if err != nil || f.RdzvEndpoint != "gate" || f.RdzvID != "mine" || f.LocalAddr != "" || f.key != nil {
		t.Errorf("the flags are %+v, %v", f.nodeFlags, err)
	}
	f, err = task(t, "1", func(f *launchFlags) { f.Standalone = true })
	if err != nil || f.Nnodes != "1" || f.RdzvEndpoint != "" {
		t.Errorf("with --standalone they are %+v, %v", f.nodeFlags, err)
	}
	if _, err = task(t, "1", func(f *launchFlags) { f.Nnodes = "3" }); err == nil || !strings.Contains(err.Error(), "has 2 nodes") {
		t.Errorf("with --nnodes 3: %v", err)
	}
}

// TestGoOn: a job is queued again if it was warned of its end, has a script, and goes on from its checkpoint.
func TestGoOn(t *testing.T) {
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	fake := "#!/bin/sh\n[ \"$1\" = requeue ] && echo \"$2\" >> " + asked + "\necho \"JobId=17 JobState=RUNNING BatchFlag=$BATCH PreemptTime=None\"\n"
	if err := os.WriteFile(filepath.Join(dir, "scontrol"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	auto, never := configs.Default().Checkpoint, configs.Default().Checkpoint
	never.Resume = "never"
	for _, c := range []struct {
		name, batch string
		checkpoint  configs.Checkpoint
		warned      bool
		queued      string
		says        string
	}{
		{"goes on", "1", auto, true, "17\n", "is queued again"},
		{"begins afresh", "1", never, true, "", `is not queued again: its next turn would not go on from a checkpoint of this one, as the recipe has checkpoint.enabled = true and resume = "never"`},
		{"no script", "0", auto, true, "", "has no batch script"},
		{"cancelled", "1", auto, false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("BATCH", c.batch)
			if err := os.RemoveAll(asked); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			if err := goOn(t.Context(), newApp(globals{LogLevel: "info"}, nil, io.Discard, &log), &slurm.Step{JobID: "17"}, c.checkpoint, c.warned); !errors.Is(err, errLeft) {
				t.Error(err)
			}
			queued, err := os.ReadFile(asked)
			if string(queued) != c.queued || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("queued %q (%v), want %q", queued, err, c.queued)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("said %q, want %q", log.String(), c.says)
			}
		})
	}
}
