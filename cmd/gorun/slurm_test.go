package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
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
