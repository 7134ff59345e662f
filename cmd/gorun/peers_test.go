package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gorun/csrc/device/devicetest"
	"gorun/model/hub/hubtest"
)

// TestPeers: two agents with a cache each, as two nodes have, train with two ranks each on a gated model. One has a token,
// the other has none and cannot reach the Hub at all: it gets the files from the first, and the Hub gives each file once.
func TestPeers(t *testing.T) {
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", devicetest.Plugin(t))
	t.Setenv("GORUN_CACHE", t.TempDir())
	s := startHub(t)
	dir := t.TempDir()
	recipe, key := hubRecipe(t, filepath.Join(dir, "run"), `
[dataloader]
batch_size = 1
`), filepath.Join(dir, "job.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	outs := make([]bytes.Buffer, 2)
	errs := make(chan error, 2)
	for i, env := range [][]string{{"HF_TOKEN=hf_me"}, {"HF_ENDPOINT=http://127.0.0.1:1"}} {
		cmd := exec.Command("gorun", "--device=cpu", "--nnodes=2", fmt.Sprint("--node-rank=", i), "--gpus=2", "--rdzv-endpoint=127.0.0.1:"+port, "--key-file="+key, "--log-dir="+filepath.Join(dir, fmt.Sprint("logs", i)), recipe)
		cmd.Env = append(append(os.Environ(), "HF_HOME="+filepath.Join(dir, fmt.Sprint("cache", i))), env...)
		cmd.Stdout, cmd.Stderr = &outs[i], &outs[i]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		hung := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() }) // Wait tells
		defer hung.Stop()
		go func() { errs <- cmd.Wait() }()
	}
	for range outs {
		if err := <-errs; err != nil {
			t.Errorf("%v", err)
		}
	}
	if !strings.Contains(outs[0].String(), "step 2/2") || !strings.Contains(outs[1].String(), "model acme/tiny comes from node 127.0.0.1:") {
		t.Errorf("the nodes say\n%s\nand\n%s", &outs[0], &outs[1])
	}
	for file, n := range fetched(s) {
		if n != 1 {
			t.Errorf("%s was fetched %d times", file, n)
		}
	}
	if len(fetched(s)) < 5 {
		t.Errorf("the Hub gave only %v", fetched(s))
	}
}

// fetched counts how often a Hub was asked for each file.
func fetched(s *hubtest.Server) map[string]int {
	out := map[string]int{}
	for _, line := range s.Requests() {
		if strings.Contains(line, "/resolve/") {
			out[line]++
		}
	}
	return out
}
