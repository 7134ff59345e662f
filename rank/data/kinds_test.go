package data

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"gorun/configs"
	"gorun/model/tokenizer"
)

const (
	// chatML is a template without marks, marked one with them.
	chatML = `{% for m in messages %}{{ '<' ~ m.role ~ '> ' ~ m.content ~ ' </s>\n' }}{% endfor %}{{ '<assistant> ' if add_generation_prompt }}`
	marked = `{% for m in messages %}<{{ m.role }}> {% if m.role == 'assistant' %}{% generation %}{{ m.content }} </s>{% endgeneration %}{% else %}{{ m.content }}{% endif %} {% endfor %}{{ tools | length if tools }}`
)

// shown is a sample with what is trained on between marks; letters' tokens are bytes.
func shown(s Sample) string {
	text := Show(s, func(ids []int32) string {
		var b strings.Builder
		for _, id := range ids {
			if id == 2 {
				b.WriteString("#")
				continue
			}
			b.WriteByte(byte(id))
		}
		return b.String()
	})
	_, text, _ = strings.Cut(text, "\n")
	return text
}

// TestKinds: each kind's line becomes its prompt, with what is trained on between [[ and ]]; # is EOS.
func TestKinds(t *testing.T) {
	plain, chat, mark := letters{}, letters{words{chat: chatML}}, letters{words{chat: marked}}
	set := func(kind string, edit func(*configs.Dataset)) configs.Dataset {
		c := configs.Default().Dataset
		c.Kind = kind
		if edit != nil {
			edit(&c)
		}
		return c
	}
	templated := func(c *configs.Dataset) { c.ChatTemplate = true }
	for _, c := range []struct {
		name string
		set  configs.Dataset
		tok  Tokenizer
		line string
		want string
	}{
		{"squad", set("squad", nil), plain, `{"context":"c","question":"q","answers":["a"]}`, "Context: c Question: q Answer: [[a#]]"},
		{"squad, template", set("squad", templated), chat, `{"context":"c","question":"q","answers":[" a "]}`, "<user> Context: c Question: q Answer:  </s>\n<assistant> [[a </s>]]"},
		{"squad, template, marks", set("squad", templated), mark, `{"context":"c","question":"q","answers":["a"]}`, "<user> Context: c Question: q Answer:  <assistant> [[a </s>]]"},
		{"columns", set("columns", nil), plain, `{"question":"q","answer":" a "}`, "q [[a#]]"},
		{"columns, named", set("columns", func(c *configs.Dataset) {
			c.Columns.Question, c.Columns.Answer, c.Columns.Context = "instruction", "output", "input"
		}), plain, `{"instruction":"q","output":"a","input":"c"}`, "c q [[a#]]"},
		{"columns, template", set("columns", func(c *configs.Dataset) { c.ChatTemplate, c.Columns.Context = true, "input" }), chat,
			`{"question":"q","answer":"a","input":"c"}`, "<system> c </s>\n<user> q  </s>\n<assistant> [[a </s>]]"},
		{"columns, no context", set("columns", func(c *configs.Dataset) { c.Columns.Context = "input" }), plain, `{"question":"q","answer":5,"input":null}`, "q [[5#]]"},
		{"columns, no answer", set("columns", nil), plain, `{"question":"q"}`, `no "answer": name the fields`},
		{"columns, wrong context", set("columns", func(c *configs.Dataset) { c.Columns.Context = "input" }), plain, `{"question":"q","answer":"a","input":[]}`, `"input" is a list`},
		{"hellaswag", set("hellaswag", nil), plain, `{"ctx":"He","endings":["x"," runs."],"label":"1"}`, "He [[runs.#]]"},
		{"hellaswag, number", set("hellaswag", nil), plain, `{"ctx":"He","endings":["x","y"],"label":0}`, "He [[x#]]"},
		{"hellaswag, test", set("hellaswag", nil), plain, `{"ctx":"He","endings":["x","y"],"label":""}`, `label "" is none of the 2 endings`},
		{"hellaswag, missing", set("hellaswag", nil), plain, `{"ctx":"He","label":"0"}`, "a HellaSwag example has all three"},
		{"chat", set("chat", nil), chat, `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"},{"role":"user","content":"?"},{"role":"assistant","content":"!"}]}`,
			"<user> Hi </s>\n<assistant> [[Yo </s>]]\n<user> ? </s>\n<assistant> [[! </s>]]"},
		{"chat, marks, tools", set("chat", nil), mark, `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}],"tools":[{},{}]}`,
			"<user> Hi <assistant> [[Yo </s>]] "},
		{"ShareGPT", set("chat", nil), chat, `{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"Yo"}]}`, "<user> Hi </s>\n<assistant> [[Yo </s>]]"},
		{"chat, named", set("chat", func(c *configs.Dataset) { c.Columns.Messages = "turns" }), chat, `{"turns":"[{\"role\":\"assistant\",\"content\":\"Yo\"}]"}`, "<assistant> [[Yo </s>]]"},
		{"chat, no messages", set("chat", nil), chat, `{"text":"Hi"}`, "dataset.columns.messages"},
		{"chat, broken", set("chat", nil), chat, `{"messages":[{"content":"Hi"}]}`, `f:1: message 1: has no "role"`},
		{"no template", set("columns", templated), plain, `{}`, "dataset.chat_template: the model has no chat template"},
		{"empty answer", set("columns", templated), chat, `{"question":"q","answer":""}`, "f:1: has no answer"},
	} {
		s, err := lineSample(c.set, c.tok, c.line)
		got := shown(s)
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestChatParquet: conversations in nested columns, as the Hub has them, are read as from JSON.
func TestChatParquet(t *testing.T) {
	type call struct {
		Name string   `parquet:"name"`
		Args []string `parquet:"args,list"`
	}
	type message struct {
		Role    string            `parquet:"role"`
		Content *string           `parquet:"content,optional"`
		Calls   []call            `parquet:"tool_calls,list"`
		Extra   map[string]string `parquet:"extra"`
		N       int32             `parquet:"n"`
		F       float32           `parquet:"f"`
		OK      bool              `parquet:"ok"`
	}
	type row struct {
		ID       int64     `parquet:"id"`
		Messages []message `parquet:"messages,list"`
		Tools    string    `parquet:"tools"`
		Flat     []string  `parquet:"flat"`
	}
	hi, yo := "Hi \"x\"", "Yo"
	path := writeParquetAs(t, []row{
		{1, []message{{Role: "user", Content: &hi, N: -5, F: 0.5, OK: true, Extra: map[string]string{"k": "v"}}, {Role: "assistant", Content: &yo, Calls: []call{{"f", nil}, {"g", []string{"a", "b"}}}}}, `[]`, []string{"p", "q"}},
		{2, nil, "", nil},
		{3, []message{{Role: "assistant"}}, "", nil},
	}, parquet.Compression(&parquet.Zstd))
	var got []string
	err := visitParquet(path, nil, func(_ string, r record, _ error) error {
		for _, field := range []string{"messages", "tools", "flat", "id", "none"} {
			raw, ok, err := r.value(field)
			got = append(got, fmt.Sprint(string(raw), ok, err))
		}
		return nil
	})
	want := []string{
		`[{"role":"user","content":"Hi \"x\"","tool_calls":[],"extra":{"k":"v"},"n":-5,"f":0.5,"ok":true},` +
			`{"role":"assistant","content":"Yo","tool_calls":[{"name":"f","args":[]},{"name":"g","args":["a","b"]}],"extra":{},"n":0,"f":0,"ok":false}]true <nil>`,
		`"[]"true <nil>`, `["p","q"]true <nil>`, `1true <nil>`, `false <nil>`,
		`[]true <nil>`, `""true <nil>`, `[]true <nil>`, `2true <nil>`, `false <nil>`,
		`[{"role":"assistant","content":null,"tool_calls":[],"extra":{},"n":0,"f":0,"ok":false}]true <nil>`, `""true <nil>`, `[]true <nil>`, `3true <nil>`, `false <nil>`,
	}
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v\n got %s\nwant %s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	err = visitParquet("testdata/pyarrow.parquet", nil, func(_ string, r record, _ error) error {
		raw, _, err := r.value("answers")
		if want := `{"text":["A1","A1b"]`; !strings.HasPrefix(string(raw), want) {
			t.Errorf("pyarrow: %s, %v, want %s...", raw, err, want)
		}
		return errEnough
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
	c := configs.Default().Dataset
	c.Kind, c.PathOrID, c.OnBad = "chat", path, "skip"
	d, err := built(t, c, letters{words{chat: chatML}}, 100, 256)
	if err != nil || d.Len() != 2 || d.Skipped != 1 || !strings.Contains(d.Reasons[0], "row 1: no messages") || shown(samplesOf(t, d)[0]) != "<user> Hi \"x\" </s>\n<assistant> [[Yo </s>]]" {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestStreaming: of a file whose text is far larger than its tokens, the text is not held: reading it takes about what
// the samples take.
func TestStreaming(t *testing.T) {
	const lines, size = 1500, 20000 // 30 MB of text, a few tokens each
	path := filepath.Join(t.TempDir(), "large.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat("x", size)
	for i := range lines {
		if _, err := fmt.Fprintf(f, `{"question":"%s","answer":"%d"}`+"\n", filler, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	c := configs.Default().Dataset
	c.Kind, c.PathOrID, c.NumWorkers = "columns", path, 1 // the counter is one goroutine's
	var most uint64
	var stats runtime.MemStats
	read := 0
	tok := watching{seen: func() {
		if read++; read%500 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&stats)
			most = max(most, stats.HeapAlloc)
		}
	}}
	runtime.GC()
	runtime.ReadMemStats(&stats)
	before := stats.HeapAlloc
	d, err := built(t, c, tok, 100, 1<<20)
	if err != nil || d.Len() != lines {
		t.Fatal(err)
	}
	if grown := int64(most) - int64(before); grown > lines*size/4 {
		t.Errorf("reading %d MB holds %d MB", lines*size>>20, grown>>20)
	}
}

// watching is a tokenizer that calls back.
type watching struct {
	words
	seen func()
}

func (w watching) Encode(text string, special bool) (tokenizer.Encoding, error) {
	w.seen()
	return w.words.Encode(text, special)
}
