package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// More token types of GGUF vocabularies.
const (
	ggufNormal = 1
	ggufUnused = 5
	ggufByte   = 6
)

// ToGGUF is the tokenizer of a Hugging Face folder (or a tokenizer.json) as GGUF metadata, under the keys that llama.cpp's
// converters write. vocab is the number of rows of the model's embedding: ids without a token become unused ones. What
// llama.cpp would tokenise otherwise is an error.
func ToGGUF(path string, vocab int) (map[string]any, error) {
	meta, err := toGGUF(path, vocab)
	if err != nil {
		return nil, fmt.Errorf("tokenizer %s: as GGUF metadata: %w", path, err)
	}
	return meta, nil
}

func toGGUF(path string, vocab int) (map[string]any, error) {
	t, err := Load(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "tokenizer.json")
	}
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	if len(t.tokens) > vocab {
		return nil, fmt.Errorf("%d tokens, but the model has %d: is it the model's own tokenizer?", len(t.tokens), vocab)
	}
	meta := map[string]any{}
	if t.model.byteLevel {
		err = byteLevelToGGUF(meta, f)
	} else {
		err = sentencePieceToGGUF(meta, f, vocab)
	}
	if err != nil {
		return nil, err
	}
	t.vocabularyToGGUF(meta, f, vocab)
	t.specialsToGGUF(meta)
	return meta, nil
}

// vocabularyToGGUF adds the tokens and their types.
func (t *Tokenizer) vocabularyToGGUF(meta map[string]any, f file, vocab int) {
	tokens, types := make([]string, vocab), make([]int32, vocab)
	for id := range tokens {
		tokens[id], types[id] = fmt.Sprintf("[PAD%d]", id), ggufUnused
		if id < len(t.tokens) && t.tokens[id] != "" {
			tokens[id], types[id] = t.tokens[id], ggufNormal
		}
	}
	for _, a := range f.Added {
		// llama.cpp prints control tokens as nothing: those that look like markup are meant so, whatever their flag says.
		if a.Special || strings.HasPrefix(a.Content, "<|") && strings.HasSuffix(a.Content, "|>") {
			types[a.ID] = ggufControl
			continue
		}
		tokens[a.ID], types[a.ID] = strings.ReplaceAll(a.Content, spmSpace, " "), ggufUserDefined
	}
	if !t.model.byteLevel {
		for b := range 256 {
			if id, ok := t.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
				types[id] = ggufByte
			}
		}
		if t.model.unk >= 0 {
			types[t.model.unk] = ggufUnknown
			meta["tokenizer.ggml.unknown_token_id"] = uint32(t.model.unk)
		}
	}
	meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"] = tokens, types
}

// specialsToGGUF adds the ids of special tokens, what is put around a text, and the chat template.
func (t *Tokenizer) specialsToGGUF(meta map[string]any) {
	for key, id := range map[string]int32{"bos": t.bos, "eos": t.eos, "padding": t.pad} {
		if id >= 0 {
			meta["tokenizer.ggml."+key+"_token_id"] = uint32(id)
		}
	}
	meta["tokenizer.ggml.add_bos_token"] = t.bos >= 0 && slices.Contains(t.before, t.bos)
	meta["tokenizer.ggml.add_eos_token"] = t.eos >= 0 && slices.Contains(t.after, t.eos)
	if t.chat != "" {
		meta["tokenizer.chat_template"] = t.chat
	}
}

// step is one pre-tokenizer or normalizer of tokenizer.json, out of its sequence.
type step struct {
	Type           string          `json:"type"`
	Pretokenizers  []step          `json:"pretokenizers"`
	Normalizers    []step          `json:"normalizers"`
	Pattern        pattern         `json:"pattern"`
	Behavior       string          `json:"behavior"`
	Invert         bool            `json:"invert"`
	Individual     bool            `json:"individual_digits"`
	AddPrefixSpace *bool           `json:"add_prefix_space"`
	UseRegex       *bool           `json:"use_regex"`
	Prepend        string          `json:"prepend"`
	Scheme         string          `json:"prepend_scheme"`
	Split          json.RawMessage `json:"split"`
}

func steps(raw json.RawMessage) ([]step, error) {
	if isNull(raw) {
		return nil, nil
	}
	var s step
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	if s.Type == "Sequence" {
		return append(s.Pretokenizers, s.Normalizers...), nil
	}
	return []step{s}, nil
}

// byteLevelToGGUF finds llama.cpp's name of how a byte-level BPE cuts texts, and lists the merges.
func byteLevelToGGUF(meta map[string]any, f file) error {
	cuts, err := steps(f.PreTokenizer)
	if err != nil {
		return err
	}
	rewrites, err := steps(f.Normalizer)
	if err != nil {
		return err
	}
	var patterns []string
	for _, s := range cuts {
		switch {
		case s.Type == "Digits" && s.Individual:
			patterns = append(patterns, `\p{N}`)
		case s.Type == "Split" && s.Pattern.Regex != nil && s.Behavior == "Isolated" && !s.Invert:
			patterns = append(patterns, *s.Pattern.Regex)
		case s.Type == "ByteLevel" && (s.AddPrefixSpace == nil || *s.AddPrefixSpace):
			return errors.New("a space before every text (add_prefix_space) has no equivalent in llama.cpp")
		case s.Type == "ByteLevel":
			if s.UseRegex == nil || *s.UseRegex {
				patterns = append(patterns, gpt2Pattern)
			}
		default:
			return fmt.Errorf("pre_tokenizer %q has no name in llama.cpp that gorun knows", s.Type)
		}
	}
	nfc := len(rewrites) == 1 && rewrites[0].Type == "NFC"
	if len(rewrites) > 0 && !nfc {
		return fmt.Errorf("normalizer %q has no equivalent in llama.cpp", rewrites[0].Type)
	}
	for _, name := range []string{"gpt-2", "smollm", "llama-bpe", "qwen2"} {
		if p := ggufPre[name]; slices.Equal(p.patterns, patterns) && p.nfc == nfc && p.ignoreMerges == f.Model.IgnoreMerges {
			merges := make([]string, len(f.Model.Merges))
			for i, m := range f.Model.Merges {
				merges[i] = m[0] + " " + m[1]
			}
			meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"], meta["tokenizer.ggml.merges"] = "gpt2", name, merges
			return nil
		}
	}
	return fmt.Errorf("how it cuts texts (%q, NFC %t, ignore_merges %t) has no name in llama.cpp that gorun knows", patterns, nfc, f.Model.IgnoreMerges)
}

// sentencePieceToGGUF scores a BPE of SentencePiece's kind: the earlier a merge, the higher the score of what it makes.
func sentencePieceToGGUF(meta map[string]any, f file, vocab int) error {
	space, err := spacePrefix(f)
	if err != nil {
		return err
	}
	scores, made := make([]float32, vocab), make([]bool, vocab)
	listed := map[merge]bool{}
	for rank, m := range f.Model.Merges {
		listed[m] = true
		id := f.Model.Vocab[m[0]+m[1]]
		if !made[id] {
			made[id], scores[id] = true, -float32(rank+1)
		}
	}
	// llama.cpp has no list of merges: it joins any two tokens whose union is a token. So each such pair must be listed.
	added := map[string]bool{}
	for _, a := range f.Added {
		added[a.Content] = true
	}
	for _, token := range ordered(f.Model.Vocab) {
		for _, m := range halves(token, f.Model.Vocab) {
			if !listed[m] && !added[token] && !added[m[0]] && !added[m[1]] {
				return fmt.Errorf("the vocabulary has %q, %q and %q but no merge of the two: llama.cpp would tokenise otherwise", m[0], m[1], token)
			}
		}
	}
	meta["tokenizer.ggml.model"], meta["tokenizer.ggml.pre"], meta["tokenizer.ggml.scores"] = "llama", "default", scores
	meta["tokenizer.ggml.add_space_prefix"] = space
	return nil
}

// halves lists the ways to cut a token into two tokens.
func halves(token string, vocab map[string]int32) (out []merge) {
	for at := range token {
		if at == 0 {
			continue
		}
		_, left := vocab[token[:at]]
		if _, right := vocab[token[at:]]; left && right {
			out = append(out, merge{token[:at], token[at:]})
		}
	}
	return out
}

// ordered lists a vocabulary's tokens by id.
func ordered(vocab map[string]int32) []string {
	tokens := make([]string, 0, len(vocab))
	for token := range vocab {
		tokens = append(tokens, token)
	}
	slices.SortFunc(tokens, func(a, b string) int { return int(vocab[a] - vocab[b]) })
	return tokens
}

// spacePrefix tells whether a SentencePiece vocabulary puts a space before a text. llama.cpp does so before every piece
// between special tokens, as the Prepend normalizer does; it has no "first piece only", and its converters take that for
// the same.
func spacePrefix(f file) (bool, error) {
	rewrites, err := steps(f.Normalizer)
	if err != nil {
		return false, err
	}
	cuts, err := steps(f.PreTokenizer)
	if err != nil {
		return false, err
	}
	space, marked := false, false
	for _, s := range append(rewrites, cuts...) {
		switch {
		case s.Type == "Prepend" && s.Prepend == spmSpace:
			space = true
		case s.Type == "Replace" && s.Pattern.String != nil && *s.Pattern.String == " ":
			marked = true
		case s.Type == "Metaspace":
			space, marked = s.Scheme != "never", true
		default:
			return false, fmt.Errorf("%q has no equivalent in llama.cpp", s.Type)
		}
	}
	if !marked || !f.Model.ByteFallback {
		return false, errors.New("it is neither a byte-level nor a SentencePiece vocabulary: llama.cpp has no other that gorun knows")
	}
	return space, nil
}
