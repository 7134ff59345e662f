package tokenizer

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sentencePieceLike gives the trained tokenizer every merge that a SentencePiece vocabulary has, and the cases' texts the
// ids that Parse then gives them: what the conversions must keep.
func sentencePieceLike(t *testing.T) (path string, cases []golden) {
	t.Helper()
	raw, err := os.ReadFile("testdata/llama_tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	rank := map[string]int{}
	for i, m := range slices.Backward(f.Model.Merges) {
		rank[m[0]+m[1]] = i
	}
	made := slices.SortedFunc(maps.Keys(rank), func(a, b string) int { return rank[a] - rank[b] })
	merges := []merge{}
	for _, token := range made {
		merges = append(merges, halves(token, f.Model.Vocab)...)
	}
	all["model"].(map[string]any)["merges"] = merges
	path = filepath.Join(t.TempDir(), "tokenizer.json")
	if raw, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, idsBy(t, path, readCases(t, "testdata/llama_cases.json"))
}

// idsBy replaces what the cases expect by what a tokenizer gives.
func idsBy(t *testing.T, path string, cases []golden) []golden {
	t.Helper()
	tok, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []golden
	for _, c := range cases {
		e, err := tok.Encode(c.Text, false)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, golden{Text: c.Text, IDs: e.IDs, Decoded: tok.Decode(e.IDs, false)})
	}
	return out
}

// TestConvert: tokenizer.json to GGUF metadata and back to files, the ids of every case the same at each stop.
func TestConvert(t *testing.T) {
	paths, want := map[string]string{}, map[string][]golden{}
	for _, name := range []string{"gpt2", "smol", "llama3", "qwen2"} {
		paths[name] = "testdata/" + name + "_tokenizer.json"
		want[name] = readCases(t, "testdata/"+name+"_cases.json")
	}
	paths["sentencepiece"], want["sentencepiece"] = sentencePieceLike(t)
	for name := range want { // GGUF has no added tokens that swallow the space before them
		want[name] = slices.DeleteFunc(want[name], func(c golden) bool { return strings.Contains(c.Text, " <pad>") })
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			meta, err := ToGGUF(path, 3100)
			if err != nil {
				t.Fatal(err)
			}
			tok, err := FromGGUF(meta)
			if err != nil {
				t.Fatal(err)
			}
			checkCases(t, tok, want[name])
			if tok.VocabSize() != 3100 {
				t.Errorf("%d tokens, want one for each of the model's 3100 rows", tok.VocabSize())
			}
			files, err := Files(meta)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			back, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			checkCases(t, back, want[name])
			sameSpecials(t, back, tok)
		})
	}
}

// sameSpecials compares what is put around a text.
func sameSpecials(t *testing.T, got, want *Tokenizer) {
	t.Helper()
	a, errA := got.Encode("x", true)
	b, errB := want.Encode("x", true)
	if errA != nil || errB != nil || !slices.Equal(a.IDs, b.IDs) {
		t.Errorf("with special tokens %v, want %v (%v, %v)", a.IDs, b.IDs, errA, errB)
	}
}

// TestConvertSpecials: special tokens and the chat template go all the way.
func TestConvertSpecials(t *testing.T) {
	dir := t.TempDir()
	raw, err := os.ReadFile("testdata/smol_tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"tokenizer.json": string(raw), "tokenizer_config.json": `{"bos_token":"<s>","eos_token":{"content":"</s>"},"pad_token":"<pad>"}`, "chat_template.jinja": "{{ x }}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := ToGGUF(dir, 900)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.chat_template": "{{ x }}",
		"tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.eos_token_id": uint32(2), "tokenizer.ggml.padding_token_id": uint32(3),
		"tokenizer.ggml.add_bos_token": false,
	} {
		if meta[key] != want {
			t.Errorf("%s is %v, want %v", key, meta[key], want)
		}
	}
	types := meta["tokenizer.ggml.token_type"].([]int32)
	if !slices.Equal(types[:5], []int32{ggufControl, ggufControl, ggufControl, ggufControl, ggufNormal}) {
		t.Errorf("types begin with %v", types[:5])
	}
}

// TestToGGUFRefuses: what llama.cpp would tokenise otherwise is refused with the reason.
func TestToGGUFRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		path, old, repl string
		vocab           int
		want            string
	}{
		"smaller model":  {"gpt2", "", "", 899, "900 tokens, but the model has 899"},
		"no such merge":  {"llama", "", "", 900, "no merge of the two"},
		"prefix space":   {"gpt2", `"add_prefix_space": false`, `"add_prefix_space": true`, 900, "add_prefix_space"},
		"ignored merges": {"smol", `"ignore_merges": false`, `"ignore_merges": true`, 900, "no name in llama.cpp"},
		"normalizer":     {"gpt2", `"normalizer": null`, `"normalizer": {"type": "NFKC"}`, 900, `normalizer "NFKC"`},
		"digits by five": {"smol", `"individual_digits": true`, `"individual_digits": false`, 900, `pre_tokenizer "Digits"`},
	} {
		raw, err := os.ReadFile("testdata/" + c.path + "_tokenizer.json")
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(spaced(t, raw), c.old, c.repl, 1)
		path := filepath.Join(t.TempDir(), "tokenizer.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ToGGUF(path, c.vocab); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// spaced writes JSON with one space after each colon.
func spaced(t *testing.T, raw []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
