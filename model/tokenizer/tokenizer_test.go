package tokenizer

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gorun/model/gguf"
	"gorun/tools/skip"
)

// demo is the tokenizer of the demo's model.
func demo(t testing.TB) *Tokenizer {
	t.Helper()
	path := os.Getenv("GORUN_DEMO_GGUF")
	if path == "" {
		skip.Because(t, "GORUN_DEMO_GGUF does not name the demo's model")
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	tok, err := FromGGUF(f.Meta())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestDemoModel(t *testing.T) {
	tok := demo(t)
	checkCases(t, tok, readCases(t, "testdata/gguf_cases.json"))
	eos, ok := tok.EOS()
	if !ok || tok.Token(eos) != "<|im_end|>" || tok.VocabSize() != 49152 || !strings.Contains(tok.ChatTemplate(), "im_start") {
		t.Errorf("eos %d %q, %d tokens, template %q", eos, tok.Token(eos), tok.VocabSize(), tok.ChatTemplate())
	}
	e, err := tok.Encode("a<|im_start|>user", false)
	if id, ok := tok.TokenID("<|im_start|>"); err != nil || !ok || e.IDs[1] != id {
		t.Errorf("special token in a text: %v, %v", e.IDs, err)
	}
}

func load(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Load("testdata/" + name + "_tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestSpecial(t *testing.T) {
	tok := load(t, "llama")
	bos, _ := tok.TokenID("<s>")
	e, err := tok.Encode("x", true)
	if err != nil || e.IDs[0] != bos || e.Offsets[0] != [2]int{0, 0} {
		t.Errorf("with special: %+v, %v", e, err)
	}
	if got := tok.Decode(e.IDs, true); got != "x" {
		t.Errorf("decoded without special tokens: %q", got)
	}
	if _, err := tok.Encode("a\xffb", false); err == nil || !strings.Contains(err.Error(), "byte 1") {
		t.Errorf("not UTF-8: %v", err)
	}
}

// TestFolder reads what is beside tokenizer.json.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("testdata/llama_tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "no tokenizer.json") {
		t.Errorf("empty folder: %v", err)
	}
	put("tokenizer.json", string(raw))
	put("special_tokens_map.json", `{"bos_token":"<s>","eos_token":{"content":"<unk>"}}`)
	put("tokenizer_config.json", `{"eos_token":{"content":"</s>"},"pad_token":null,"chat_template":[{"name":"tool","template":"T"},{"name":"default","template":"D"}]}`)
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	bos, _ := tok.BOS()
	eos, _ := tok.EOS()
	if _, pad := tok.Pad(); tok.Token(bos) != "<s>" || tok.Token(eos) != "</s>" || pad || tok.ChatTemplate() != "D" {
		t.Errorf("bos %d eos %d template %q", bos, eos, tok.ChatTemplate())
	}
	put("chat_template.jinja", "J")
	if tok, err = Load(dir); err != nil || tok.ChatTemplate() != "J" {
		t.Errorf("jinja file: %v", err)
	}
	put("tokenizer_config.json", `{"eos_token":"<nope>"}`)
	if _, err = Load(dir); err == nil || !strings.Contains(err.Error(), `eos_token "<nope>" is not in the vocabulary`) {
		t.Errorf("unknown eos: %v", err)
	}
}

func TestRefused(t *testing.T) {
	model := `"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`
	for text, want := range map[string]string{
		`{`:                            "not a tokenizer.json",
		`{"model":{"type":"Unigram"}}`: `model "Unigram"`,
		`{"normalizer":{"type":"Bert"},` + model + `}`:                                                                    `normalizer "Bert"`,
		`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Strip","strip_left":3}]},` + model + `}`: "normalizer Strip: json",
		`{"normalizer":{"type":"Sequence","normalizers":{}},` + model + `}`:                                               "normalizer Sequence: json",
		`{"pre_tokenizer":{"type":"Magic"},` + model + `}`:                                                                `pre_tokenizer "Magic"`,
		`{"decoder":{"type":"WordPiece"},` + model + `}`:                                                                  `decoder "WordPiece"`,
		`{"post_processor":{"type":"Roberta"},` + model + `}`:                                                             `post_processor "Roberta"`,
		`{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"},` + model + `}`:                  "regular expression",
		`{"pre_tokenizer":{"type":"Split","pattern":{"String":"x"},"behavior":"Sideways"},` + model + `}`:                 `behavior "Sideways"`,
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a z"]}}`:                                                       "not in the vocabulary",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":["az"]}}`:                                                        "has no space",
		`{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}`:                                                      "same id",
		`{"model":{"type":"BPE","vocab":{"a":99999999},"merges":[]}}`:                                                     "ids are from 0",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"u"}}`:                                            `unk_token "u"`,
		`{"added_tokens":[{"id":5,"content":"a"}],` + model + `}`:                                                         "but the vocabulary gives it 0",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	for name, meta := range map[string]map[string]any{
		"has no tokenizer": {},
		`"bert"`:           {"tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.model": "bert"},
		`"odd"`:            {"tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "odd"},
		"0 scores":         {"tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.model": "llama"},
		"2 token types":    {"tokenizer.ggml.tokens": []string{"a"}, "tokenizer.ggml.token_type": []int32{1, 1}},
	} {
		if _, err := FromGGUF(meta); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("GGUF: got %v, want %q", err, name)
		}
	}
}

// TestSentencePieceGGUF builds a GGUF vocabulary with scores out of the trained one and expects the same tokens.
func TestSentencePieceGGUF(t *testing.T) {
	want := load(t, "llama")
	n := want.VocabSize()
	tokens, scores, types := make([]string, n), make([]float32, n), make([]int32, n)
	for i := range tokens {
		tokens[i], types[i] = want.Token(int32(i)), 1
		scores[i] = -float32(i) // trained merges make tokens in the order of their ids
	}
	types[0], types[1], types[2] = ggufUnknown, ggufControl, ggufControl
	tok, err := FromGGUF(map[string]any{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": scores, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.add_bos_token": true})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Hello world", "one two  three", "naïve 日本 🙂", "x"} {
		a, err := want.Encode(text, true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := tok.Encode(text, true)
		if err != nil || !slices.Equal(a.IDs, b.IDs) {
			t.Errorf("%q: %v, want %v, %v", text, b.IDs, a.IDs, err)
		}
		if got := tok.Decode(b.IDs, true); got != text {
			t.Errorf("%q decodes to %q", text, got)
		}
	}
}

// TestLongWord: a megabyte of one letter takes no more than n log n.
func TestLongWord(t *testing.T) {
	for _, name := range []string{"gpt2", "llama"} {
		tok := load(t, name)
		start := time.Now()
		e, err := tok.Encode(strings.Repeat("a", 1<<20), false)
		if err != nil || tok.Decode(e.IDs, false) != strings.Repeat("a", 1<<20) {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func TestConcurrent(t *testing.T) {
	tok := load(t, "gpt2")
	want, err := tok.Encode("the quick brown fox", false)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 200 {
				got, err := tok.Encode("the quick brown fox", false)
				if err != nil || !slices.Equal(got.IDs, want.IDs) {
					t.Errorf("got %v, %v", got.IDs, err)
				}
				if _, err := tok.Encode(fmt.Sprint("word", i*1000+j), false); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
}

func FuzzEncode(f *testing.F) {
	byteLevel, spm := load(f, "qwen2"), load(f, "llama")
	plainBytes := load(f, "gpt2")
	for _, s := range []string{"Hello world", "a\u0301\r\n  x", "<|bos|>\u2581", "日本"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range []*Tokenizer{byteLevel, spm, plainBytes} {
			e, err := tok.Encode(text, true)
			if err != nil {
				continue // not UTF-8
			}
			if len(e.IDs) != len(e.Offsets) {
				t.Fatalf("%d ids, %d offsets", len(e.IDs), len(e.Offsets))
			}
			for _, o := range e.Offsets {
				if o[0] < 0 || o[1] < o[0] || o[1] > len(text) {
					t.Fatalf("offset %v of a text of %d bytes", o, len(text))
				}
			}
			if tok == plainBytes && !strings.Contains(text, "<") && tok.Decode(e.IDs, false) != text {
				t.Fatalf("%q comes back as %q", text, tok.Decode(e.IDs, false))
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`))
	f.Add([]byte(`{"added_tokens":[{"id":3,"content":"<x>","lstrip":true}],"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Prepend","prepend":"_"}]},"pre_tokenizer":{"type":"Metaspace"},"decoder":{"type":"Metaspace"},"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]],"byte_fallback":true}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tok, err := Parse(raw)
		if err != nil {
			return
		}
		e, err := tok.Encode("ab <x> a\u00e9", true)
		if err != nil {
			t.Fatal(err)
		}
		_ = tok.Decode(e.IDs, false)
	})
}

func BenchmarkEncode(b *testing.B) {
	tok := load(b, "llama3")
	raw, err := os.ReadFile("tokenizer_test.go")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := tok.Encode(string(raw), false); err != nil {
			b.Fatal(err)
		}
	}
}
