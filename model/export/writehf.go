package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/gguf"
	"gorun/model/safetensors"
	"gorun/model/spec"
	"gorun/model/tokenizer"
)

// beside are the files of a Hugging Face folder that go with a model's weights unchanged, as patterns.
var beside = []string{
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt",
	"chat_template.*", "generation_config.json", "LICENSE*", "NOTICE*",
}

// stored maps a dtype of weights to how it is stored.
var stored = map[dtypes.DType]gguf.Type{dtypes.Float32: gguf.F32, dtypes.BFloat16: gguf.BF16, dtypes.Float16: gguf.F16}

// WriteHF writes a merged model into dir, a folder that exists and is empty, as transformers saves one: config.json (the
// base's own, only its dtype changed), the weights as dtype (Float32, BFloat16 or Float16) in files of at most maxShard
// bytes, and the files of the tokenizer. A tied head stays tied: it is not written. For a GGUF base config.json and the
// tokenizer's files are made from its metadata.
func WriteHF(dir string, m *Merged, dtype dtypes.DType, maxShard int64) error {
	if err := writeHF(dir, m, dtype, maxShard); err != nil {
		return fmt.Errorf("write model %s: %w", dir, err)
	}
	return nil
}

func writeHF(dir string, m *Merged, dtype dtypes.DType, maxShard int64) error {
	as, ok := stored[dtype]
	if !ok {
		return fmt.Errorf("weights cannot be stored as %s: use float32, bfloat16 or float16", dtype)
	}
	files, err := m.smallFiles(dtype)
	if err != nil {
		return err
	}
	tensors := m.Base.Decoder.Tensors()
	if err := m.unmerged(tensors); err != nil {
		return err
	}
	streams := make([]safetensors.Stream, len(tensors))
	for i, t := range tensors {
		streams[i] = safetensors.Stream{Name: t.Name, DType: dtype, Shape: t.Shape, Fill: func(lo, hi int, dst []byte) error {
			values := make([]float32, len(dst)/dtype.Size())
			if err := m.Rows(t.Name, lo, hi, values); err != nil {
				return err
			}
			gguf.Encode(as, dst, values)
			return nil
		}}
	}
	if err := safetensors.WriteDir(dir, streams, map[string]string{"format": "pt"}, maxShard); err != nil {
		return err
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// smallFiles are all files but the weights, by name.
func (m *Merged) smallFiles(dtype dtypes.DType) (map[string][]byte, error) {
	if m.Base.Meta != nil {
		files, err := tokenizer.Files(m.Base.Meta)
		if err != nil {
			return nil, err
		}
		files["config.json"], err = m.Base.Decoder.ConfigJSON(dtype)
		return files, err
	}
	files := map[string][]byte{}
	for _, pattern := range beside {
		found, err := filepath.Glob(filepath.Join(m.Base.Path, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			content, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			files[filepath.Base(path)] = content
		}
	}
	config, err := os.ReadFile(filepath.Join(m.Base.Path, "config.json"))
	if err != nil {
		return nil, err
	}
	files["config.json"], err = withDType(config, spec.TorchName(dtype))
	return files, err
}

// withDType changes the dtype of a config.json and nothing else, not a space: under the key that it has, or, if it has
// none, under transformers' older one, which all versions read.
func withDType(config []byte, name string) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(config))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, fmt.Errorf("config.json is not a JSON object (%w)", err)
	}
	start := dec.InputOffset()
	type span struct{ from, to int64 }
	var values []span
	empty := true
	for dec.More() {
		empty = false
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("config.json: %w", err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("config.json: %w", err)
		}
		if end := dec.InputOffset(); key == "dtype" || key == "torch_dtype" {
			values = append(values, span{end - int64(len(value)), end})
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("config.json: something follows the object")
	}
	quoted := `"` + name + `"`
	if values == nil {
		comma := ","
		if empty {
			comma = ""
		}
		return slices.Concat(config[:start], []byte("\n  \"torch_dtype\": "+quoted+comma), config[start:]), nil
	}
	out := []byte{}
	at := int64(0)
	for _, v := range values {
		out = slices.Concat(out, config[at:v.from], []byte(quoted))
		at = v.to
	}
	return append(out, config[at:]...), nil
}
