package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// Token types of GGUF vocabularies.
const (
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
)

// Patterns that GGUF's tokenizer.ggml.pre stands for, applied one after the other.
var ggufPre = map[string]struct {
	patterns     []string
	ignoreMerges bool
	nfc          bool
}{
	"default":   {patterns: []string{gpt2Pattern}},
	"gpt-2":     {patterns: []string{gpt2Pattern}},
	"smollm":    {patterns: []string{`\p{N}`, gpt2Pattern}},
	"llama-bpe": {patterns: []string{llama3Pattern}, ignoreMerges: true},
	"qwen2":     {patterns: []string{strings.ReplaceAll(llama3Pattern, `\p{N}{1,3}`, `\p{N}`)}, nfc: true},
}

const llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// FromGGUF makes the tokenizer that a GGUF file's metadata describes.
func FromGGUF(meta map[string]any) (*Tokenizer, error) {
	t, err := fromGGUF(meta)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: GGUF metadata: %w", err)
	}
	return t, nil
}

func fromGGUF(meta map[string]any) (*Tokenizer, error) {
	tokens, ok := meta["tokenizer.ggml.tokens"].([]string)
	if !ok || len(tokens) == 0 || len(tokens) > maxVocab {
		return nil, errors.New("tokenizer.ggml.tokens is missing, empty or too long: the file has no tokenizer")
	}
	t := &Tokenizer{tokens: tokens, ids: make(map[string]int32, len(tokens)), bos: -1, eos: -1, pad: -1}
	for i, s := range tokens {
		if _, twice := t.ids[s]; !twice {
			t.ids[s] = int32(i)
		}
	}
	types, _ := meta["tokenizer.ggml.token_type"].([]int32)
	if types != nil && len(types) != len(tokens) {
		return nil, fmt.Errorf("%d token types for %d tokens", len(types), len(tokens))
	}
	unknown := int32(-1)
	var added []addedToken
	for i, kind := range types {
		switch kind {
		case ggufUnknown:
			unknown = int32(i)
		case ggufControl, ggufUserDefined:
			added = append(added, addedToken{ID: int32(i), Content: tokens[i], Special: kind == ggufControl})
		}
	}
	t.added = newAddedTokens(added, nil)
	for key, id := range map[string]*int32{"bos": &t.bos, "eos": &t.eos, "padding": &t.pad, "unknown": &unknown} {
		if v, ok := number(meta["tokenizer.ggml."+key+"_token_id"]); ok && v >= 0 && v < int64(len(tokens)) {
			*id = int32(v)
		}
	}
	if add, _ := meta["tokenizer.ggml.add_bos_token"].(bool); add && t.bos >= 0 {
		t.before = []int32{t.bos}
	}
	if add, _ := meta["tokenizer.ggml.add_eos_token"].(bool); add && t.eos >= 0 {
		t.after = []int32{t.eos}
	}
	t.chat, _ = meta["tokenizer.chat_template"].(string)
	switch model, _ := meta["tokenizer.ggml.model"].(string); model {
	case "gpt2":
		return t, t.ggufBytes(meta)
	case "llama":
		return t, t.ggufSentencePiece(meta, unknown)
	default:
		return nil, fmt.Errorf("tokenizer.ggml.model %q: gorun knows \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece BPE)", model)
	}
}

// ggufBytes sets up a byte-level BPE.
func (t *Tokenizer) ggufBytes(meta map[string]any) error {
	name, _ := meta["tokenizer.ggml.pre"].(string)
	if name == "" {
		name = "default"
	}
	pre, ok := ggufPre[name]
	if !ok {
		var known []string
		for k := range ggufPre {
			known = append(known, k)
		}
		slices.Sort(known)
		return fmt.Errorf("tokenizer.ggml.pre %q: gorun knows %s; use the Hugging Face folder of this model", name, strings.Join(known, ", "))
	}
	for _, p := range pre.patterns {
		find, err := regexFinder(p)
		if err != nil {
			return err
		}
		t.split = append(t.split, cutter{find: find, behavior: "Isolated"})
	}
	if pre.nfc {
		t.normalize = []normalizer{unicodeForm(norm.NFC)}
	}
	merges, _ := meta["tokenizer.ggml.merges"].([]string)
	list := make([]merge, len(merges))
	for i, m := range merges {
		a, b, ok := strings.Cut(m, " ")
		if !ok {
			return fmt.Errorf("merge %d %q has no space", i, m)
		}
		list[i] = merge{a, b}
	}
	ranked, err := rankMerges(t.ids, list)
	if err != nil {
		return err
	}
	t.model = &bpe{ids: t.ids, merges: ranked, byteLevel: true, ignoreMerges: pre.ignoreMerges, unk: -1}
	t.model.fillBytes()
	t.decode.byteLevel = true
	return nil
}

// ggufSentencePiece sets up a BPE whose best merge is the one with the highest score.
func (t *Tokenizer) ggufSentencePiece(meta map[string]any, unknown int32) error {
	scores, _ := meta["tokenizer.ggml.scores"].([]float32)
	if len(scores) != len(t.tokens) {
		return fmt.Errorf("%d scores for %d tokens", len(scores), len(t.tokens))
	}
	// Ranks by falling score, equal scores sharing one: of those the leftmost pair goes first.
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	ranks := make([]int, len(scores))
	for i, id := range order {
		ranks[id] = i
		if i > 0 && scores[order[i-1]] == scores[id] {
			ranks[id] = ranks[order[i-1]]
		}
	}
	t.model = &bpe{ids: t.ids, unk: unknown, fuseUnk: true, byteFallback: true, merges: func(a, b int32) (int, int32, bool) {
		id, ok := t.ids[t.tokens[a]+t.tokens[b]]
		if !ok {
			return 0, 0, false
		}
		return ranks[id], id, true
	}}
	t.model.fillBytes()
	mark := `{"type": "Replace", "pattern": {"String": " "}, "content": "` + spmSpace + `"}`
	if add, ok := meta["tokenizer.ggml.add_space_prefix"].(bool); !ok || add {
		mark = `{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "` + spmSpace + `"}, ` + mark + `]}`
		t.decode.stripStart = 1
	}
	var err error
	if t.normalize, err = parseNormalizers(json.RawMessage(mark)); err != nil {
		return err
	}
	t.decode.byteFallback = true
	t.decode.replace = [][2]string{{spmSpace, " "}}
	return nil
}

// number reads any integer of GGUF metadata.
func number(v any) (int64, bool) {
	switch n := v.(type) {
	case uint8:
		return int64(n), true
	case int8:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int32:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(min(n, 1<<62)), true
	}
	return 0, false
}
