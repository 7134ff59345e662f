package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/csrc/device/devicetest"
	"gorun/model/hub/hubtest"
	"gorun/model/tinymodel"
)

// tinyModel is the files of a random model with a real tokenizer.
func tinyModel(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	tinymodel.Write(t, dir, tinymodel.Llama, "../../model/tokenizer/testdata/gpt2_tokenizer.json")
	out := map[string][]byte{"README.md": []byte("---\nlicense: llama3.2\n---\n"), "pytorch_model.bin": []byte("not to be fetched")}
	for _, name := range []string{"config.json", "tokenizer_config.json", "model.safetensors", "tokenizer.json"} {
		var err error
		if out[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// startHub runs a Hub with a gated model and a dataset, and makes it the environment's.
func startHub(t *testing.T) *hubtest.Server {
	t.Helper()
	s := emptyHub(t)
	s.Accounts = map[string]hubtest.Account{"hf_stranger": {}, "hf_me": {Granted: []string{"models/acme/tiny"}, Write: true}}
	s.Put("models/acme/tiny", tinyModel(t), hubtest.Gated)
	var rows strings.Builder
	for i := range 8 {
		fmt.Fprintf(&rows, `{"id":"%d","context":"The number of %d is %d.","question":"What is %d?","answers":["%d"]}`+"\n", i, i, i*7%10, i, i*7%10)
	}
	s.Put("datasets/acme/numbers", map[string][]byte{"train.jsonl": []byte(rows.String()), "validation.jsonl": []byte(rows.String())})
	return s
}

// emptyHub runs a Hub and makes it the environment's, with a cache of its own and no token.
func emptyHub(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.Start(t)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HOME", t.TempDir())
	for _, name := range []string{"HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HUGGING_FACE_HUB_TOKEN"} {
		t.Setenv(name, "") // for the test's end, which puts it back
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// gorun runs a command line in this process.
func gorun(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// must is gorun where it must succeed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := gorun(t, args...)
	if code != exitOK {
		t.Fatalf("gorun %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// hubRecipe writes a recipe of two steps with a model and a dataset of the Hub, and with more sections; the run goes to dir.
func hubRecipe(t *testing.T, dir, more string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "recipe.toml")
	text := fmt.Sprintf(`
[model]
pretrained_model_name_or_path = "acme/tiny"
dtype = "f32"
[peft]
dim = 4
[dataset]
path_or_id = "acme/numbers"
[step_scheduler]
max_steps = 2
[checkpoint]
dir = %q
`, dir)
	if err := os.WriteFile(path, []byte(text+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHub: a gated model, a token, training on a dataset of the Hub, publishing, and use of what was published, offline
// too.
func TestHub(t *testing.T) {
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", devicetest.Plugin(t))
	t.Setenv("GORUN_CACHE", t.TempDir())
	s := startHub(t)
	dir := filepath.Join(t.TempDir(), "run")
	recipe := hubRecipe(t, dir, `
[validation_dataset]
path_or_id = "acme/numbers"
`)

	code, _, stderr := gorun(t, recipe)
	if code != exitFailure || !strings.Contains(stderr, "model.pretrained_model_name_or_path") || !strings.Contains(stderr, "request access at "+s.URL+"/acme/tiny") {
		t.Fatalf("a gated model without a token: exit code %d\n%s", code, stderr)
	}
	t.Setenv("HF_TOKEN", "hf_me")
	must(t, "fetch", "acme/tiny")
	if out := must(t, recipe); !strings.Contains(out, "acme/tiny") || !strings.Contains(out, "acme/numbers (train): 8 samples") {
		t.Errorf("training says\n%s", out)
	}

	latest := filepath.Join(dir, "LATEST")
	dry := must(t, "publish", latest, "--repo", "acme/mine", "--dry-run")
	for _, w := range []string{"acme/mine/adapter_model.safetensors", "acme/mine/recipe.toml", "bytes in 4 files", "base_model: acme/tiny", "license: llama3.2", "- acme/numbers", "--lora-modules mine=acme/mine"} {
		if !strings.Contains(dry, w) {
			t.Errorf("--dry-run does not show %q:\n%s", w, dry)
		}
	}
	if strings.Contains(dry, "optimizer.safetensors") {
		t.Errorf("--dry-run shows optimizer state:\n%s", dry)
	}
	if files, _, _ := s.Files("models/acme/mine"); files != nil {
		t.Error("--dry-run made a repository")
	}
	if out := must(t, "publish", latest, "--repo", "acme/mine", "--private", "--message", "two steps"); strings.TrimSpace(out) != s.URL+"/acme/mine" {
		t.Errorf("publish prints %q", out)
	}
	files, messages, private := s.Files("models/acme/mine")
	if !private || messages[len(messages)-1] != "two steps" || files["optimizer.safetensors"] != nil {
		t.Errorf("private %v, %q, %d files", private, messages, len(files))
	}
	if want, err := os.ReadFile(filepath.Join(latest, "adapter_model.safetensors")); err != nil || string(files["adapter_model.safetensors"]) != string(want) {
		t.Errorf("the adapter that was published is not the checkpoint's (%v)", err)
	}

	// Training may start from it.
	if out := must(t, recipe, "--set", "peft.init_from=acme/mine", "--set", "checkpoint.dir="+filepath.Join(t.TempDir(), "more")); !strings.Contains(out, "acme/tiny") || !strings.Contains(out, "from acme/mine") || strings.Count(out, "(tokenised before)") != 2 {
		t.Errorf("training from what was published says\n%s", out)
	}

	var got struct{ Text string }
	out := must(t, "generate", "--base", "acme/tiny", "--adapter", "acme/mine", "--prompt", "What is 3?", "--max-tokens", "3", "--json")
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Errorf("generate prints %q: %v", out, err)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	if again := must(t, "generate", "--base", "acme/tiny", "--adapter", "acme/mine", "--prompt", "What is 3?", "--max-tokens", "3", "--json"); again != out {
		t.Errorf("offline: %q, online %q", again, out)
	}
	code, _, stderr = gorun(t, "fetch", "acme/other")
	if code != exitFailure || !strings.Contains(stderr, "HF_HUB_OFFLINE") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestFetchCommand(t *testing.T) {
	s := startHub(t)
	t.Setenv("HF_TOKEN", "hf_me")
	path := strings.TrimSpace(must(t, "fetch", "acme/tiny"))
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 5 {
		t.Errorf("%s: %v (%v)", path, entries, err)
	}
	path = strings.TrimSpace(must(t, "fetch", "--dataset", "acme/numbers", "--include", "train*", "--revision", "main"))
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 1 {
		t.Errorf("%s: %v (%v)", path, entries, err)
	}
	for _, tt := range []struct {
		code int
		says string
		args []string
	}{
		{exitUsage, "is no id", []string{"fetch", "a/b/c"}},
		{exitUsage, "--repo", []string{"publish", path, "--repo", "../x"}},
		{exitFailure, "neither an adapter", []string{"publish", path, "--repo", "acme/mine"}},
		{exitFailure, `no revision "v9"`, []string{"fetch", "acme/tiny", "--revision", "v9"}},
		{exitFailure, "there is no file or folder acme/none here, so it is taken for an id of the Hub", []string{"tokenize", "--model", "acme/none"}},
		{exitFailure, "--base: there is no file or folder a--b/c", []string{"generate", "--base", "a--b/c", "--prompt", "x"}},
		{exitFailure, s.URL, []string{"fetch", "acme/none"}},
	} {
		if code, _, stderr := gorun(t, tt.args...); code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: exit code %d\n%s", tt.args, code, stderr)
		}
	}
}

// TestHubID: what is on the disk, looks like a path or is a demo is not asked of the Hub.
func TestHubID(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("org/local", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"org/local", "./org/x", "/org/x", "~/x", "a/b/c", "org/x/", "x.gguf", "demo:squad"} {
		if id, err := hubID("model", path); err != nil || id != nil {
			t.Errorf("%s: %v, %v", path, id, err)
		}
	}
	if id, err := hubID("dataset", "org/data.jsonl"); err != nil || id != nil {
		t.Errorf("a data file: %v, %v", id, err)
	}
	a := newApp(globals{}, strings.NewReader(""), io.Discard, io.Discard)
	if _, err := a.resolve(t.Context())("model", "./x", "v1"); err == nil || !strings.Contains(err.Error(), `a revision ("v1") is of a Hub id`) {
		t.Errorf("a revision of a path: %v", err)
	}
	for _, name := range []string{"org/x", "gpt2"} {
		if id, err := hubID("dataset", name); err != nil || id == nil || id.ID != name || id.Kind != "dataset" {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
}
