package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorun/csrc/device/devicetest"
)

// TestGenerateToTheEnd: texts end at the last of the model's 256 positions, alone and beside others; a prompt that fills
// them is refused.
func TestGenerateToTheEnd(t *testing.T) {
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", devicetest.Plugin(t))
	t.Setenv("GORUN_CACHE", t.TempDir())
	base, dir := tinyFolder(t, ""), t.TempDir()
	generate := func(args ...string) (code int, out, errs string) {
		var o, e strings.Builder
		code = run(t.Context(), append([]string{"generate", "--base", base}, args...), nil, &o, &e)
		return code, o.String(), e.String()
	}
	long := strings.TrimSpace(strings.Repeat("hi ", 117)) // two tokens each
	code, out, errs := generate("--prompt", long, "--max-tokens", "300", "--json")
	var got struct {
		IDs     []int32 `json:"prompt_ids"`
		Tokens  []any   `json:"tokens"`
		Stopped bool    `json:"stopped"`
	}
	if err := json.Unmarshal([]byte(out), &got); code != exitOK || err != nil {
		t.Fatalf("exit code %d, %v\n%s", code, err, errs)
	}
	if left := 256 - len(got.IDs); left < 1 || left > 50 || len(got.Tokens) != left || got.Stopped || !strings.Contains(errs, fmt.Sprintf("the text ends after %d tokens, at the last of the model's 256 positions", left)) {
		t.Errorf("%d tokens after %d, stopped %v\n%s", len(got.Tokens), len(got.IDs), got.Stopped, errs)
	}

	prompts, texts := filepath.Join(dir, "prompts.jsonl"), filepath.Join(dir, "texts.jsonl")
	if err := os.WriteFile(prompts, fmt.Appendf(nil, "%q\n%q\n", long, "hi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := generate("--prompts", prompts, "--out", texts, "--max-tokens", "60"); code != exitOK {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	written, err := os.ReadFile(texts)
	if err != nil || !strings.Contains(string(written), fmt.Sprintf(`"tokens":%d,"stopped":false`, len(got.Tokens))) || !strings.Contains(string(written), `"tokens":60,"stopped":false`) {
		t.Errorf("%v\n%s", err, written)
	}

	if code, _, errs := generate("--prompt", long+long); code != exitFailure || !strings.Contains(errs, "tokens and the model 256 positions: shorten it") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}
