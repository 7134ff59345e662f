package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gorun/model/gguf"
	"gorun/model/spec"
	"gorun/model/tokenizer"
	"gorun/model/weights"
)

// fileTypes are llama.cpp's numbers (general.file_type) for files that are mostly of one type.
var fileTypes = map[gguf.Type]uint32{gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7, gguf.BF16: 32}

// quantizationVersion is ggml's version of its block layouts.
const quantizationVersion = 2

// WriteGGUF writes a merged model as one GGUF file, with its tokenizer, as llama.cpp's converters do: vectors and norms
// in F32, everything else as the type (F32, F16, BF16, or Q8_0 with F16 where a row is not whole blocks), the rows of q
// and k in llama.cpp's order. name is general.name. A GGUF base gives its own metadata on.
func WriteGGUF(path string, m *Merged, as gguf.Type, name string) error {
	if err := writeGGUF(path, m, as, name); err != nil {
		return fmt.Errorf("write GGUF: %w", err)
	}
	return nil
}

func writeGGUF(path string, m *Merged, as gguf.Type, name string) error {
	meta, factors, err := m.ggufMeta(as, name)
	if err != nil {
		return err
	}
	arch, _ := meta[0].Value.(string)
	tensors := m.Base.Decoder.Tensors()
	if err := m.unmerged(tensors); err != nil {
		return err
	}
	var streams []gguf.Stream
	for _, name := range slices.Sorted(maps.Keys(factors)) {
		values := factors[name]
		streams = append(streams, gguf.Stream{TensorInfo: gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: []int{len(values)}}, Fill: func(lo, hi int, dst []float32) error {
			copy(dst, values[lo:hi])
			return nil
		}})
	}
	for _, t := range tensors {
		own := weights.GGUFName(t.Name)
		if own == "" {
			return fmt.Errorf("tensor %q has no name in llama.cpp that gorun knows", t.Name)
		}
		streams = append(streams, gguf.Stream{TensorInfo: gguf.TensorInfo{Name: own, Type: typeOf(own, t.Shape, as), Shape: t.Shape}, Fill: m.ggufRows(arch, t)})
	}
	return gguf.Write(path, meta, streams)
}

// typeOf is how llama.cpp's converters store a tensor of a file that is mostly of one type.
func typeOf(name string, shape []int, as gguf.Type) gguf.Type {
	switch {
	case len(shape) == 1 || strings.HasSuffix(name, "_norm.weight"):
		return gguf.F32
	case !gguf.CanStore(as, shape[len(shape)-1]):
		return gguf.F16
	}
	return as
}

// ggufRows reads the rows of a tensor in llama.cpp's order.
func (m *Merged) ggufRows(arch string, t spec.Tensor) func(lo, hi int, dst []float32) error {
	if !weights.GGUFPairsRows(arch, t.Name) {
		return func(lo, hi int, dst []float32) error { return m.Rows(t.Name, lo, hi, dst) }
	}
	return func(lo, hi int, dst []float32) error {
		width := len(dst) / (hi - lo)
		for row := lo; row < hi; row++ {
			from := weights.HuggingFaceRow(row, m.Base.Decoder.HeadDim)
			if err := m.Rows(t.Name, from, from+1, dst[(row-lo)*width:(row-lo+1)*width]); err != nil {
				return err
			}
		}
		return nil
	}
}

// ggufMeta is the file's metadata, general.architecture first, and the tensors with rotary factors.
func (m *Merged) ggufMeta(as gguf.Type, name string) ([]gguf.Pair, map[string][]float32, error) {
	if _, ok := fileTypes[as]; !ok {
		return nil, nil, fmt.Errorf("no GGUF file of type %s can be written: use F32, F16, BF16 or Q8_0", as)
	}
	fields, factors, err := m.Base.Decoder.ToGGUF()
	if err != nil {
		return nil, nil, err
	}
	values := map[string]any{}
	if m.Base.Meta != nil {
		maps.Copy(values, m.Base.Meta)
		maps.DeleteFunc(values, func(key string, _ any) bool { return key == "general.alignment" || strings.HasPrefix(key, "split.") })
	} else {
		if m.Base.TokenizerPath == "" {
			return nil, nil, errors.New("the base has no tokenizer.json, and a GGUF file needs its tokenizer: download it from where the model came from")
		}
		if values, err = tokenizer.ToGGUF(m.Base.TokenizerPath, m.Base.Decoder.Vocab); err != nil {
			return nil, nil, err
		}
		for _, f := range fields {
			values[f.Key] = f.Value
		}
	}
	values["general.type"], values["general.name"] = "model", name
	values["general.file_type"], values["general.quantization_version"] = fileTypes[as], uint32(quantizationVersion)
	return pairs(values), factors, nil
}

// pairs orders metadata: the architecture, which tells how to read the rest, then by key.
func pairs(values map[string]any) []gguf.Pair {
	const first = "general.architecture"
	out := []gguf.Pair{{Key: first, Value: values[first]}}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if key != first {
			out = append(out, gguf.Pair{Key: key, Value: values[key]})
		}
	}
	return out
}
