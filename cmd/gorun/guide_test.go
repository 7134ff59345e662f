package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"gorun/configs"
	"gorun/csrc/device/devicetest"
	"gorun/model/hub/hubtest"
	"gorun/tools/skip"
)

// guidePython names the python that runs the guide's Python blocks; without it they are not run. make oracle sets it.
const guidePython = "GORUN_GUIDE_PYTHON"

// block is a fenced block of a document: its language, the word after it, and its text.
type block struct {
	line           int
	language, word string
	text           string
}

var fence = regexp.MustCompile("(?m)^```([a-z]+)(?: (\\S+))?\n((?s:.*?))^```$")

// blocks returns the fenced blocks of a document in order.
func blocks(document string) (out []block) {
	for _, at := range fence.FindAllStringSubmatchIndex(document, -1) {
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return document[at[2*i]:at[2*i+1]]
		}
		out = append(out, block{strings.Count(document[:at[0]], "\n") + 1, part(1), part(2), part(3)})
	}
	return out
}

// printed tells whether output has the lines of want, one after the other: "..." stands for anything in a line, and
// alone for any lines.
func printed(output, want string) bool {
	var pattern strings.Builder
	pattern.WriteString(`(?m)^`)
	for line := range strings.Lines(want) {
		if line == "...\n" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`))
	}
	return regexp.MustCompile(pattern.String()).MatchString(output)
}

// guide is a reader who does what docs/guide.md says, in a folder of his own and with a Hub on this machine. Blocks are
//
//	sh          a shell runs it, and it must succeed; what it exports holds for the blocks that follow
//	sh fails    it must fail
//	sh install  its commands are targets of the Makefile
//	toml FILE   becomes that file
//	text        what the block before it must have printed
//	python      runs if there is a python for it
type guide struct {
	dir, env string // where commands run; what they have exported
	hub      *hubtest.Server
	output   string // of the block before
	ran      bool   // whether the block before was run
}

func (g *guide) do(t *testing.T, b block) {
	switch kind := strings.TrimSpace(b.language + " " + b.word); {
	case kind == "sh":
		g.run(t, false, "sh", "-eu", "-c", fmt.Sprintf("if [ -e %[1]s ]; then . %[1]s; fi\n%[2]s\nexport -p >%[1]s\n", g.env, b.text))
	case kind == "sh fails":
		g.run(t, true, "sh", "-eu", "-c", b.text)
	case kind == "sh install":
		g.install(t, b.text)
	case b.language == "toml" && b.word != "":
		if err := os.WriteFile(filepath.Join(g.dir, b.word), []byte(b.text), 0o600); err != nil {
			t.Fatal(err)
		}
	case kind == "text":
		if g.ran && !printed(g.output, b.text) {
			t.Errorf("the block before printed\n%s\nwhich is not\n%s", g.output, b.text)
		}
	case kind == "python":
		g.ran = false
		python := os.Getenv(guidePython)
		if python == "" {
			skip.Because(t, "the guide's Python blocks need transformers and PEFT: make oracle runs them")
		}
		g.run(t, false, "sh", "-eu", "-c", fmt.Sprintf(". %s\nexec %s -c \"$0\"", g.env, python), b.text)
	default:
		t.Errorf("no rule for a block of kind %q", kind)
	}
}

// run runs a program as the reader would.
func (g *guide) run(t *testing.T, fails bool, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = g.dir
	out, err := cmd.CombinedOutput()
	g.output, g.ran = strings.ReplaceAll(string(out), g.hub.URL, "https://huggingface.co"), true
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if (err != nil) != fails {
		t.Fatalf("ended with %v\n%s", err, g.output)
	}
}

// install checks that what it says to make can be made; making it is what the tests themselves began with.
func (g *guide) install(t *testing.T, text string) {
	g.ran = false
	for line := range strings.Lines(text) {
		if target, ok := strings.CutPrefix(strings.TrimSpace(line), "make "); ok {
			g.run(t, false, "make", "-n", "-C", moduleRoot(t), target)
		}
	}
	if !g.ran {
		t.Error("it makes nothing")
	}
}

// TestGuide: docs/guide.md holds, word by word. The models and datasets that it names are tiny ones here.
func TestGuide(t *testing.T) {
	skip.InShort(t, "docs/guide.md, block by block")
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", devicetest.Plugin(t))
	t.Setenv("GORUN_CACHE", t.TempDir())
	text, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{dir: t.TempDir(), env: filepath.Join(t.TempDir(), "env"), hub: guideHub(t)}
	all := blocks(string(text))
	if n := strings.Count(string(text), "\n```"); n != 2*len(all) || n == 0 {
		t.Fatalf("%d blocks were read of %d fences", len(all), n)
	}
	for _, b := range all {
		ok := t.Run(fmt.Sprintf("line %d", b.line), func(t *testing.T) { g.do(t, b) })
		if !ok {
			break // the blocks that follow rest on it
		}
	}
}

// guideHub has what the guide names: a gated model, SQuAD and HellaSwag.
func guideHub(t *testing.T) *hubtest.Server {
	t.Helper()
	const base = "models/meta-llama/Llama-3.2-1B"
	s := emptyHub(t)
	s.Accounts = map[string]hubtest.Account{"hf_...": {Granted: []string{base}, Write: true}}
	s.Put(base, tinyModel(t), hubtest.Gated)
	train, validation, endings := new(strings.Builder), new(strings.Builder), new(strings.Builder)
	for i := range 160 {
		to := train
		if i >= 96 {
			to = validation
		}
		fmt.Fprintf(to, `{"id":"%d","context":"The number of %d is %d.","question":"What is %d?","answers":{"text":["%d"],"answer_start":[19]}}`+"\n", i, i, i*7%10, i, i*7%10)
	}
	for i := range 8 {
		fmt.Fprintf(endings, `{"activity_label":"Counting","ctx_a":"A girl counts to %d.","ctx_b":"then she","ctx":"A girl counts to %d. then she","endings":["stops.","goes on to %d.","sings.","runs away."],"label":"1"}`+"\n", i, i, i+1)
	}
	s.Put("datasets/rajpurkar/squad", map[string][]byte{"train.jsonl": []byte(train.String()), "validation.jsonl": []byte(validation.String())})
	s.Put("datasets/Rowan/hellaswag", map[string][]byte{"validation.jsonl": []byte(endings.String())})
	return s
}

// TestGuideRecipe: the guide's recipe is the shipped one.
func TestGuideRecipe(t *testing.T) {
	text, err := os.ReadFile("../../docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "recipe.toml")
	for _, b := range blocks(string(text)) {
		if b.language == "toml" {
			if err := os.WriteFile(path, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err1 := configs.Load(path, nil)
	want, err2 := configs.Load("llama3_2_1b_squad_peft", nil)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	var a, b strings.Builder
	if err := errors.Join(got.Write(&a), want.Write(&b)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a.String(), b.String()) {
		t.Errorf("the guide's recipe is\n%s\nand the shipped one\n%s", a.String(), b.String())
	}
}

func TestPrinted(t *testing.T) {
	for _, tt := range []struct {
		output, want string
		is           bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"x\na 1\nb\n", "a ...\nb\n", true},
		{"a\nx\nb\n", "a\nb\n", false},
		{"a\nx\ny\nb\n", "a\n...\nb\n", true},
		{"xa\n", "a\n", false},
		{"a.\n", "ab\n", false},
	} {
		if got := printed(tt.output, tt.want); got != tt.is {
			t.Errorf("%q in %q: %v", tt.want, tt.output, got)
		}
	}
}
