package rank

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gorun/configs"
	"gorun/model/tokenizer"
	"gorun/model/weights"
)

// Base is an opened base model: its description, weights and tokenizer, still on disk.
type Base struct {
	*weights.Model
	Tokenizer *tokenizer.Tokenizer
}

// OpenBase opens a Hugging Face folder or a GGUF file.
func OpenBase(path string) (*Base, error) {
	m, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("model %s: %w", path, err), m.Close())
	}
	return &Base{m, tok}, nil
}

// openTrained opens the base of a recipe, which may be a mock one ("mock:llama3-8b") if its data is mock too: such a base
// has no tokenizer.
func openTrained(r *configs.Recipe, path string) (*Base, error) {
	name, mock := strings.CutPrefix(path, configs.MockPrefix)
	if !mock {
		return OpenBase(path)
	}
	if r.Dataset.Kind != "mock" || len(r.ValidationDataset) > 0 {
		return nil, fmt.Errorf("model.pretrained_model_name_or_path: %q is random weights without a tokenizer: train on dataset.kind = \"mock\" only, without validation", path)
	}
	return openMock(name, "model.pretrained_model_name_or_path")
}

// openMock makes a base of random weights without a tokenizer; field is where its name stands, for errors.
func openMock(name, field string) (*Base, error) {
	m, err := weights.Mock(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return &Base{Model: m}, nil
}

// OpenTokenizer opens the tokenizer of a Hugging Face folder, a tokenizer.json or a GGUF file, without the weights.
func OpenTokenizer(path string) (*tokenizer.Tokenizer, error) {
	if !strings.HasSuffix(path, ".gguf") {
		return tokenizer.Load(path)
	}
	m, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromGGUF(m.Meta)
	return tok, errors.Join(err, m.Close())
}

func openTokenizer(m *weights.Model) (*tokenizer.Tokenizer, error) {
	switch {
	case m.Meta != nil:
		return tokenizer.FromGGUF(m.Meta)
	case m.TokenizerPath == "":
		return nil, errors.New("no tokenizer.json beside the weights: download it from where the model came from")
	}
	return tokenizer.Load(m.TokenizerPath)
}

// tokenizerDigest tells tokenizers apart, but for their templates and special tokens. A mock base has none.
func (b *Base) tokenizerDigest() (string, error) {
	h := sha256.New()
	switch {
	case b.Tokenizer == nil:
	case b.Meta != nil:
		for _, key := range slices.Sorted(maps.Keys(b.Meta)) {
			if strings.HasPrefix(key, "tokenizer.") {
				fmt.Fprintf(h, "%q %v\n", key, b.Meta[key])
			}
		}
	default:
		raw, err := os.ReadFile(filepath.Join(b.TokenizerPath, "tokenizer.json"))
		if err != nil {
			return "", fmt.Errorf("tokenizer: %w", err)
		}
		h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Stops are the ids that end a text: the model's own and the tokenizer's.
func (b *Base) Stops() []int32 {
	var out []int32
	for _, id := range b.Decoder.EOS {
		out = append(out, int32(id))
	}
	if id, ok := b.Tokenizer.EOS(); ok {
		out = append(out, id)
	}
	return out
}

// pad is an id to fill rows with; nothing ever looks at it.
func (b *Base) pad() int32 {
	if b.Tokenizer == nil { // a mock base
		return 0
	}
	if id, ok := b.Tokenizer.Pad(); ok {
		return id
	}
	return 0
}
