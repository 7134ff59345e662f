package chat

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gorun/model/chat/jinja"
)

// golden is what transformers renders (tools/oracle/chat.py).
type golden struct {
	Tokens        map[string]string
	Tools         json.RawMessage
	Conversations map[string]json.RawMessage
	Cases         []struct {
		Template, Conversation, Text, Error string
		Tools, Prompt                       bool
		Spans                               [][2]int
	}
}

func value(t testing.TB, raw json.RawMessage) any {
	t.Helper()
	v, err := jinja.FromJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// today is the date in a text, which templates take from the clock.
var today = regexp.MustCompile(`(Today Date: )\d\d \w+ \d{4}`)

func readGolden(t testing.TB) (g golden, templates map[string]*Template) {
	t.Helper()
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	templates = map[string]*Template{}
	files, err := filepath.Glob("testdata/templates/*.jinja")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if templates[filepath.Base(f)], err = Parse(string(src), g.Tokens); err != nil {
			t.Fatal(err)
		}
	}
	return g, templates
}

// TestGolden: every template gives the very text that transformers gives, refuses what it refuses there, and marks the
// same parts as the assistant's.
func TestGolden(t *testing.T) {
	g, templates := readGolden(t)
	tools := value(t, g.Tools)
	for _, c := range g.Cases {
		name := fmt.Sprintf("%s, %s, tools %t, prompt %t", c.Template, c.Conversation, c.Tools, c.Prompt)
		conv := Conversation{}
		if messages := value(t, g.Conversations[c.Conversation]); c.Conversation != "empty" {
			var err error
			if conv, err = Read(messages, nil); err != nil {
				t.Fatal(err)
			}
		}
		if c.Tools {
			conv.Tools = tools.(*jinja.List)
		}
		r, err := templates[c.Template].render(conv, c.Prompt)
		r.Text, c.Text = today.ReplaceAllString(r.Text, "$1."), today.ReplaceAllString(c.Text, "$1.")
		switch {
		case (err != nil) != (c.Error != ""):
			t.Errorf("%s: %v, in transformers %q", name, err, c.Error)
		case err == nil && r.Text != c.Text:
			t.Errorf("%s:\n got %q\nwant %q", name, r.Text, c.Text)
		case err == nil && len(c.Spans) > 0 && !strings.Contains(c.Text, "Today") && fmt.Sprint(r.Generations) != fmt.Sprint(c.Spans):
			t.Errorf("%s: generations %v, want %v", name, r.Generations, c.Spans)
		}
	}
	if len(g.Cases) < 150 || len(templates) < 12 {
		t.Errorf("%d cases of %d templates", len(g.Cases), len(templates))
	}
}

// trained shows what is trained on between marks.
func trained(text string, spans [][2]int) string {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		b.WriteString(text[at:s[0]] + "[[" + text[s[0]:s[1]] + "]]")
		at = s[1]
	}
	return b.String() + text[at:]
}

// TestTrained: by marks and by rendering what comes before, the assistant's words and the token that ends its turn are
// trained on, headers and white space after the turn are not.
func TestTrained(t *testing.T) {
	g, templates := readGolden(t)
	for _, tpl := range templates {
		tpl.tokens["eos_token"] = "<|im_end|>"
	}
	for _, c := range []struct{ template, conversation, want string }{
		{"chatml", "turns", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[[ Hello. \n<|im_end|>]]\n<|im_start|>user\n1 < 2?<|im_end|>\n<|im_start|>assistant\n[[Yes<|im_end|>]]\n"},
		{"generation", "turns", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[[ Hello. \n<|im_end|>]]\n<|im_start|>user\n1 < 2?<|im_end|>\n<|im_start|>assistant\n[[Yes<|im_end|>]]"},
		{"gemma2", "turns", "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n[[Hello.<end_of_turn>]]\n<start_of_turn>user\n1 < 2?<end_of_turn>\n<start_of_turn>model\n[[Yes<end_of_turn>]]\n"},
		{"qwen3", "turns", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[[ Hello. \n<|im_end|>]]\n<|im_start|>user\n1 < 2?<|im_end|>\n<|im_start|>assistant\n[[<think>\n\n</think>\n\nYes<|im_end|>]]\n"},
		{"qwen3", "system", "<|im_start|>system\n  Be brief. /no_think <|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[[Yo<|im_end|>]]\n<|im_start|>user\nand?<|im_end|>\n<|im_start|>assistant\n[[<think>\nwell\n</think>\n\nSo.<|im_end|>]]\n"},
		{"phi4", "turns", "<|user|>Hi<|end|><|assistant|>[[ Hello. \n<|end|>]]<|user|>1 < 2?<|end|><|assistant|>[[Yes<|end|>]]"},
		{"phi3", "turns", "<|user|>\nHi<|end|>\n<|assistant|>\n[[ Hello. \n<|end|>]]\n<|user|>\n1 < 2?<|end|>\n<|assistant|>\n[[Yes<|end|>\n<|im_end|>]]"},
		{"mistral", "turns", "<s>[INST] Hi[/INST][[ Hello.<|im_end|>]][INST] 1 < 2?[/INST][[ Yes<|im_end|>]]"},
		{"qwen2_5", "call", "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\n[[<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Köln\", \"days\": 2, \"f\": 1.0, \"b\": true, \"n\": null}}\n</tool_call><|im_end|>]]\n<|im_start|>user\n<tool_response>\n21.5\n</tool_response><|im_end|>\n<|im_start|>assistant\n[[Warm.<|im_end|>]]\n"},
	} {
		conv, err := Read(value(t, g.Conversations[c.conversation]), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, spans, err := templates[c.template+".jinja"].Trained(conv)
		if got := trained(text, spans); err != nil || got != c.want {
			t.Errorf("%s, %s: %v\n got %q\nwant %q", c.template, c.conversation, err, got, c.want)
		}
	}
}

// TestTrainedFaults: a template whose turns cannot be told apart is refused, with what to do about it.
func TestTrainedFaults(t *testing.T) {
	g, _ := readGolden(t)
	for want, src := range map[string]string{
		"in other words":              `{% for m in messages %}({{ m.role }}:{{ m.content }}){% endfor %}{{ '<bot>' if add_generation_prompt }}`,
		"in another way":              `{% for m in messages %}({{ m.role }}:{{ m.content }}{{ '!' if loop.last and m.role == 'assistant' }}){% endfor %}{{ '(assistant:' if add_generation_prompt }}`,
		"message 2: what comes befor": `{% if messages | length < 2 %}{{ raise_exception('too few') }}{% endif %}`,
		"the chat template refuses":   `{{ raise_exception('no') }}`,
		"line 1":                      `{{ missing.x }}`,
	} {
		tpl, err := Parse(src, nil)
		if err != nil {
			t.Fatal(err)
		}
		conv, err := Read(value(t, g.Conversations["turns"]), nil)
		if err != nil {
			t.Fatal(err)
		}
		if text, spans, err := tpl.Trained(conv); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q %v, %v, want %q", src, text, spans, err, want)
		}
	}
	if _, err := Parse("{% if %}", nil); err == nil || !strings.Contains(err.Error(), "chat template: line 1") {
		t.Errorf("a broken template: %v", err)
	}
}
