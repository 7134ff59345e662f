package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorun/csrc/device/devicetest"
	"gorun/rank"
)

// turns is a template in which every turn ends with <pad>, which no configuration names as an end.
const turns = `{% for m in messages %}{{ m.role }}: {{ m.content }}<pad>
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`

// tinyFolder writes the tiny model to a folder, with a chat template unless it is empty.
func tinyFolder(t *testing.T, template string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range tinyModel(t) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if template != "" {
		if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGenerateChat: each line is a turn, and the model sees the turns before, its own included.
func TestGenerateChat(t *testing.T) {
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", devicetest.Plugin(t))
	t.Setenv("GORUN_CACHE", t.TempDir())
	base := tinyFolder(t, turns)
	talk := func(in string, args ...string) []struct{ Prompt, Text string } {
		t.Helper()
		var out, errs strings.Builder
		args = append([]string{"generate", "--chat", "--base", base, "--max-tokens", "4"}, args...)
		if code := run(t.Context(), args, strings.NewReader(in), &out, &errs); code != exitOK {
			t.Fatalf("exit code %d\n%s", code, errs.String())
		}
		var got []struct{ Prompt, Text string }
		for line := range strings.Lines(out.String()) {
			x := struct{ Prompt, Text string }{Text: strings.TrimSuffix(line, "\n")}
			if slices.Contains(args, "--json") {
				if err := json.Unmarshal([]byte(line), &x); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			}
			got = append(got, x)
		}
		return got
	}
	got := talk("hi there\n\nand now\n", "--system", "be kind", "--json")
	if len(got) != 2 {
		t.Fatalf("%d answers: %v", len(got), got)
	}
	if want := "system: be kind<pad>\nuser: hi there<pad>\nassistant: "; got[0].Prompt != want {
		t.Errorf("the first prompt is %q, want %q", got[0].Prompt, want)
	}
	if want := got[0].Prompt + got[0].Text + "<pad>\nuser: and now<pad>\nassistant: "; got[1].Prompt != want {
		t.Errorf("the second prompt is %q, want %q", got[1].Prompt, want)
	}
	for _, stream := range []string{"--stream", "--no-stream"} {
		if plain := talk("hi there\nand now\n", "--system", "be kind", stream); len(plain) != 2 || plain[0].Text != got[0].Text || plain[1].Text != got[1].Text {
			t.Errorf("%s prints %v, want the texts of %v", stream, plain, got)
		}
	}
	if one := talk("unread\n", "--prompt", "hi there", "--system", "be kind", "--json"); len(one) != 1 || one[0] != got[0] {
		t.Errorf("--prompt: %v, want %v", one, got[0])
	}

	file := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(file, []byte(`"hi there"`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "generate", "--chat", "--system", "be kind", "--base", base, "--max-tokens", "4", "--prompts", file, "--out", file+".out")
	if left, err := filepath.Glob(file + ".*tmp"); err != nil || left != nil {
		t.Errorf("%v are left (%v)", left, err)
	}
	nowhere := filepath.Join(t.TempDir(), "none", "out.jsonl")
	if code, _, stderr := gorun(t, "generate", "--base", base, "--prompts", file, "--out", nowhere); code != exitFailure || !strings.Contains(stderr, "--out: ") {
		t.Errorf("a folder that is not there: exit code %d\n%s", code, stderr)
	}
	var batch struct{ Text string }
	if data, err := os.ReadFile(file + ".out"); err != nil || json.Unmarshal(data, &batch) != nil || batch.Text != got[0].Text {
		t.Errorf("--prompts: %q (%v), want the text %q", data, err, got[0].Text)
	}
}

// TestChatRefuses: what cannot be talked to says so before a device is opened.
func TestChatRefuses(t *testing.T) {
	base := tinyFolder(t, "")
	for _, tt := range []struct {
		code int
		says string
		args []string
	}{
		{exitFailure, "--chat: the model has no chat template", []string{"generate", "--chat", "--base", base, "--prompt", "hi"}},
		{exitUsage, "--system goes with --chat", []string{"generate", "--system", "x", "--base", base, "--prompt", "hi"}},
	} {
		if code, _, stderr := gorun(t, tt.args...); code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%q: exit code %d\n%s", tt.args, code, stderr)
		}
	}
}

// TestDialogueStops: an answer ends with the token that ends a turn in the template, if that is one.
func TestDialogueStops(t *testing.T) {
	for _, tt := range []struct {
		name, template string
		want           []int32
	}{
		{"a special token", turns, []int32{2, 2, 3}},
		{"the end of any text", strings.ReplaceAll(turns, "<pad>", "</s>"), []int32{2, 2, 2}},
		{"ordinary text", strings.ReplaceAll(turns, "<pad>", "."), []int32{2, 2}},
		{"nothing", strings.ReplaceAll(turns, "<pad>", ""), []int32{2, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, err := rank.OpenBase(tinyFolder(t, tt.template))
			if err != nil {
				t.Fatal(err)
			}
			defer base.Close() //nolint:errcheck // only read from
			d, err := newDialogue(base, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := d.stops(); !slices.Equal(got, tt.want) {
				t.Errorf("stops %v, want %v", got, tt.want)
			}
			if _, _, err := d.ask(strings.Repeat("word ", 300)); err == nil || !strings.Contains(err.Error(), "begin a new one") {
				t.Errorf("a conversation beyond the model's positions: %v", err)
			}
		})
	}
}
