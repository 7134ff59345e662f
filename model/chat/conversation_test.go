package chat

import (
	"fmt"
	"strings"
	"testing"

	"gorun/model/chat/jinja"
)

// TestRead: OpenAI's and ShareGPT's messages, in lists or in strings, come out alike.
func TestRead(t *testing.T) {
	show, err := Parse("{{ messages }} {{ tools }}", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ messages, tools, want string }{
		{`[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":null,"name":null}]`, `null`,
			`[{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': None}] None`},
		{`[{"from":"human","value":"a"},{"from":"gpt","value":"b"},{"from":"system","value":"c"},{"from":"observation","value":"d"}]`, `[]`,
			`[{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}, {'role': 'system', 'content': 'c'}, {'role': 'tool', 'content': 'd'}] None`},
		{`"[{\"role\":\"user\",\"content\":\"a\"}]"`, `"[{\"type\": \"function\"}]"`, `[{'role': 'user', 'content': 'a'}] [{'type': 'function'}]`},
		{`[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"x\": 1}"}},{"name":"g","arguments":"[1"}]}]`, `""`,
			`[{'role': 'assistant', 'tool_calls': [{'id': '1', 'function': {'name': 'f', 'arguments': {'x': 1}}}, {'name': 'g', 'arguments': '[1'}]}] None`},
		{`[{"role":"assistant","content":"a","reasoning":"r"}]`, `null`,
			`[{'thinking': 'r', 'role': 'assistant', 'content': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}] None`},
		{`[]`, `null`, "no messages"},
		{`null`, `null`, "no messages"},
		{`{"role":"user"}`, `null`, "the messages are not a list"},
		{`"[oops"`, `null`, "the messages are a string that is not JSON"},
		{`[{"role":"user","content":"a"}]`, `{"a":1}`, "the tools are not a list"},
		{`["a"]`, `null`, "message 1: is no object"},
		{`[{"content":"a"}]`, `null`, `message 1: has no "role"`},
		{`[{"role":"user","content":"a"},{"from":"alien","value":"x"}]`, `null`, `message 2: is from "alien"`},
		{`[{"from":"human"}]`, `null`, `no "value"`},
	} {
		conv, err := Read(value(t, []byte(c.messages)), value(t, []byte(c.tools)))
		got := fmt.Sprint(err)
		if err == nil {
			if got, err = show.Render(conv, false); err != nil {
				t.Errorf("%s: %v", c.messages, err)
			}
		}
		if got != c.want && (conv.Messages != nil && err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s\n got %s\nwant %s", c.messages, got, c.want)
		}
	}
}

type fakeTokenizer struct{ template string }

func (f fakeTokenizer) ChatTemplate() string { return f.template }
func (fakeTokenizer) Token(id int32) string  { return fmt.Sprintf("<%d>", id) }
func (fakeTokenizer) BOS() (int32, bool)     { return 1, true }
func (fakeTokenizer) EOS() (int32, bool)     { return 2, true }
func (fakeTokenizer) Pad() (int32, bool)     { return -1, false }

// TestNew: special tokens go by their spelling; those that a tokenizer lacks are undefined.
func TestNew(t *testing.T) {
	tpl, err := New(fakeTokenizer{"{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ pad_token is defined }}"})
	if err != nil {
		t.Fatal(err)
	}
	m := jinja.NewDict()
	m.Set("role", "user")
	m.Set("content", "x")
	if got, err := tpl.Render(Conversation{Messages: []*jinja.Dict{m}}, false); err != nil || got != "<1>x<2>False" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := New(fakeTokenizer{}); err == nil || !strings.Contains(err.Error(), "no chat template") {
		t.Errorf("without a template: %v", err)
	}
}
