package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/safetensors"
	"gorun/model/spec"
)

// folder is a Source over safetensors files.
type folder struct {
	set    *safetensors.Set
	names  []string
	digest string
}

// openFolder opens a Hugging Face folder.
func openFolder(dir string) (*Model, error) {
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, noConfig(dir, err)
	}
	decoder, err := spec.Parse(config)
	if err != nil {
		return nil, err
	}
	generation, err := os.ReadFile(filepath.Join(dir, "generation_config.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := decoder.AddGenerationConfig(generation); err != nil {
			return nil, err
		}
	}
	if err := hasSafetensors(dir); err != nil {
		return nil, err
	}
	set, err := safetensors.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{set: set}
	needed := make(map[string]bool)
	for _, t := range decoder.Tensors() {
		f.names = append(f.names, t.Name)
		needed[t.Name] = true
	}
	var beyond []string
	for _, name := range set.Names() {
		if !needed[name] && !harmless(decoder, name) {
			beyond = append(beyond, name)
		}
	}
	err = check(decoder, f.Info, func(name string) string { return name }, beyond)
	if err == nil {
		f.digest, err = digest(decoder, f)
	}
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	m := &Model{Decoder: decoder, Source: f, Path: dir}
	if exists(dir, "tokenizer.json") {
		m.TokenizerPath = dir
	}
	return m, nil
}

// noConfig explains a folder without config.json.
func noConfig(dir string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if exists(dir, "adapter_config.json") {
		return errors.New("is an adapter, not a base model: give the base here and the adapter as init_from or --adapter")
	}
	if ggufs, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(ggufs) > 0 {
		return fmt.Errorf("has no config.json but GGUF files: give one of them, %s", ggufs[0])
	}
	return fmt.Errorf("has no config.json, so it is no Hugging Face model folder: %w", err)
}

// hasSafetensors explains a folder whose weights are in PyTorch's pickle format, which is never read.
func hasSafetensors(dir string) error {
	if exists(dir, "model.safetensors") || exists(dir, "model.safetensors.index.json") {
		return nil
	}
	bins, _ := filepath.Glob(filepath.Join(dir, "*.bin"))
	if len(bins) == 0 {
		return errors.New("has neither model.safetensors nor model.safetensors.index.json; is the download complete?")
	}
	to := strings.TrimRight(dir, "/") + "-safetensors"
	return fmt.Errorf("holds its weights only as PyTorch files (%s), which can run code when loaded and are not read; convert once: "+
		"python3 -c \"from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; M.from_pretrained('%s', dtype='auto').save_pretrained('%s'); T.from_pretrained('%s').save_pretrained('%s')\"",
		filepath.Base(bins[0]), dir, to, dir, to)
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func (f *folder) Names() []string { return f.names }
func (f *folder) Digest() string  { return f.digest }
func (f *folder) Close() error    { return f.set.Close() }

func (f *folder) Info(name string) (dtypes.DType, []int, bool) {
	info, ok := f.set.Info(name)
	return info.DType, info.Shape, ok
}

// ReadRows copies from the mapping when the dtypes are equal, and converts otherwise.
func (f *folder) ReadRows(name string, lo, hi int, as dtypes.DType, dst []byte) error {
	info, ok := f.set.Info(name)
	if !ok {
		return fmt.Errorf("read %s: no such tensor", name)
	}
	width, err := span(name, info.Shape, lo, hi, as, dst)
	if err != nil {
		return err
	}
	src, err := f.set.Bytes(name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	size := width * info.DType.Size()
	if hi*size > len(src) {
		return fmt.Errorf("read %s: %d bytes, rows to %d need %d", name, len(src), hi, hi*size)
	}
	if err := convert(dst, as, src[lo*size:hi*size], info.DType); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}
