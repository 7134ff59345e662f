package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Limits on what is read.
const (
	maxFile  = 256 << 20
	maxVocab = 4 << 20
)

// Load reads a folder with tokenizer.json, or the file itself. tokenizer_config.json, special_tokens_map.json and
// chat_template.jinja beside it are read if they are there.
func Load(path string) (*Tokenizer, error) {
	dir, file := path, filepath.Join(path, "tokenizer.json")
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		dir, file = filepath.Dir(path), path
	}
	raw, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tokenizer: %s: no tokenizer.json: download it from where the model came from (a tokenizer.model alone is not enough)", path)
	} else if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", file, err)
	}
	if err := t.readConfigs(dir); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d MiB is more than a tokenizer's %d", path, info.Size()>>20, maxFile>>20)
	}
	return os.ReadFile(path)
}

// file is tokenizer.json.
type file struct {
	Added         []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         struct {
		Type         string           `json:"type"`
		Vocab        map[string]int32 `json:"vocab"`
		Merges       []merge          `json:"merges"`
		Unk          *string          `json:"unk_token"`
		FuseUnk      bool             `json:"fuse_unk"`
		ByteFallback bool             `json:"byte_fallback"`
		IgnoreMerges bool             `json:"ignore_merges"`
		Dropout      *float64         `json:"dropout"`
		Prefix       *string          `json:"continuing_subword_prefix"`
		Suffix       *string          `json:"end_of_word_suffix"`
	} `json:"model"`
}

// merge is a pair, written as a list of two or as two words.
type merge [2]string

func (m *merge) UnmarshalJSON(b []byte) error {
	var pair []string
	if json.Unmarshal(b, &pair) == nil {
		if len(pair) != 2 {
			return fmt.Errorf("a merge of %d parts", len(pair))
		}
		*m = merge{pair[0], pair[1]}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New("a merge is neither a list of two strings nor a string")
	}
	a, c, ok := strings.Cut(s, " ")
	if !ok {
		return fmt.Errorf("merge %q has no space", s)
	}
	*m = merge{a, c}
	return nil
}

// Parse reads the bytes of a tokenizer.json.
func Parse(raw []byte) (*Tokenizer, error) {
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	if m := f.Model; m.Type != "BPE" && (m.Type != "" || m.Vocab == nil || m.Merges == nil) {
		return nil, fmt.Errorf("model %q: gorun knows BPE", m.Type)
	}
	if s := f.Model.Suffix; s != nil && *s != "" {
		return nil, fmt.Errorf("model.end_of_word_suffix %q is not known to gorun", *s)
	}
	if s := f.Model.Prefix; s != nil && *s != "" {
		return nil, fmt.Errorf("model.continuing_subword_prefix %q is not known to gorun", *s)
	}
	t := &Tokenizer{ids: f.Model.Vocab, bos: -1, eos: -1, pad: -1}
	if t.ids == nil {
		t.ids = map[string]int32{}
	}
	if err := t.fill(f.Added); err != nil {
		return nil, err
	}
	var err error
	if t.normalize, err = parseNormalizers(f.Normalizer); err != nil {
		return nil, err
	}
	t.added = newAddedTokens(f.Added, t.normalize)
	if t.split, err = parseSplitters(f.PreTokenizer); err != nil {
		return nil, err
	}
	if err := parseDecoder(f.Decoder, &t.decode); err != nil {
		return nil, err
	}
	t.model = &bpe{ids: t.ids, unk: -1, byteLevel: usesBytes(t.split), ignoreMerges: f.Model.IgnoreMerges, byteFallback: f.Model.ByteFallback, fuseUnk: f.Model.FuseUnk}
	if u := f.Model.Unk; u != nil {
		id, ok := t.ids[*u]
		if !ok {
			return nil, fmt.Errorf("model.unk_token %q is not in the vocabulary", *u)
		}
		t.model.unk = id
	}
	if t.model.merges, err = rankMerges(t.ids, f.Model.Merges); err != nil {
		return nil, err
	}
	t.model.fillBytes()
	return t, t.postProcess(f.PostProcessor)
}

// fill makes the list of tokens by id.
func (t *Tokenizer) fill(added []addedToken) error {
	for _, a := range added {
		if id, ok := t.ids[a.Content]; ok && id != a.ID {
			return fmt.Errorf("added token %q has id %d, but the vocabulary gives it %d", a.Content, a.ID, id)
		}
		t.ids[a.Content] = a.ID
	}
	most := int32(-1)
	for token, id := range t.ids {
		if id < 0 || id >= maxVocab {
			return fmt.Errorf("token %q has id %d: ids are from 0 to %d", token, id, maxVocab-1)
		}
		most = max(most, id)
	}
	t.tokens = make([]string, most+1)
	for token, id := range t.ids {
		if other := t.tokens[id]; other != "" && other != token {
			return fmt.Errorf("tokens %q and %q have the same id %d", other, token, id)
		}
		t.tokens[id] = token
	}
	return nil
}

// usesBytes tells whether words are spelt in bytes: ByteLevel does that.
func usesBytes(split []splitter) bool {
	for _, s := range split {
		if _, ok := s.(byteLevel); ok {
			return true
		}
	}
	return false
}

// rankMerges looks pairs up by the ids of their parts; the first merge is the best.
func rankMerges(ids map[string]int32, list []merge) (func(a, b int32) (int, int32, bool), error) {
	type entry struct {
		rank int
		id   int32
	}
	table := make(map[[2]int32]entry, len(list))
	for rank, m := range list {
		a, okA := ids[m[0]]
		b, okB := ids[m[1]]
		id, ok := ids[m[0]+m[1]]
		if !okA || !okB || !ok {
			return nil, fmt.Errorf("merge %d (%q, %q): not in the vocabulary", rank, m[0], m[1])
		}
		table[[2]int32{a, b}] = entry{rank, id}
	}
	return func(a, b int32) (int, int32, bool) {
		e, ok := table[[2]int32{a, b}]
		return e.rank, e.id, ok
	}, nil
}

// postProcess reads what is put before and after a single text.
func (t *Tokenizer) postProcess(raw json.RawMessage) error {
	if isNull(raw) {
		return nil
	}
	var c struct {
		Type       string            `json:"type"`
		Processors []json.RawMessage `json:"processors"`
		Single     []struct {
			SpecialToken *struct {
				ID string `json:"id"`
			} `json:"SpecialToken"`
			Sequence *struct {
				ID string `json:"id"`
			} `json:"Sequence"`
		} `json:"single"`
		Special map[string]struct {
			IDs []int32 `json:"ids"`
		} `json:"special_tokens"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return fmt.Errorf("post_processor: %w", err)
	}
	switch c.Type {
	case "Sequence":
		for _, p := range c.Processors {
			if err := t.postProcess(p); err != nil {
				return err
			}
		}
	case "ByteLevel": // only trims offsets
	case "TemplateProcessing":
		to := &t.before
		for _, s := range c.Single {
			switch {
			case s.Sequence != nil:
				to = &t.after
			case s.SpecialToken != nil:
				got, ok := c.Special[s.SpecialToken.ID]
				if !ok {
					return fmt.Errorf("post_processor: special token %q has no ids", s.SpecialToken.ID)
				}
				*to = append(*to, got.IDs...)
			}
		}
	default:
		return fmt.Errorf("post_processor %q is not one that gorun knows", c.Type)
	}
	return nil
}

// nameOf reads a token that is written as a string or as an object with its content.
func nameOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var o struct {
		Content string `json:"content"`
	}
	_ = json.Unmarshal(raw, &o) // neither: no name
	return o.Content
}

// readConfigs takes special tokens and the chat template from the files beside tokenizer.json.
func (t *Tokenizer) readConfigs(dir string) error {
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		raw, err := read(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		var c map[string]json.RawMessage
		if err := json.Unmarshal(raw, &c); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		for key, id := range map[string]*int32{"bos_token": &t.bos, "eos_token": &t.eos, "pad_token": &t.pad} {
			if token := nameOf(c[key]); token != "" {
				got, ok := t.ids[token]
				if !ok {
					return fmt.Errorf("%s: %s %q is not in the vocabulary", filepath.Join(dir, name), key, token)
				}
				*id = got
			}
		}
		if chat, ok := c["chat_template"]; ok {
			t.chat = templateOf(chat)
		}
	}
	raw, err := read(filepath.Join(dir, "chat_template.jinja"))
	if err == nil {
		t.chat = string(raw)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// templateOf reads a chat template: a string, or a list of named ones, of which "default" is taken.
func templateOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var list []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	_ = json.Unmarshal(raw, &list) // neither: no template
	for _, t := range list {
		if t.Name == "default" {
			return t.Template
		}
	}
	return ""
}
