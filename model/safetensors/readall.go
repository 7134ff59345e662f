package safetensors

import (
	"bytes"
	"slices"
)

// ReadAll reads a whole file into memory of its own: its tensors in the order of their data, and its
// metadata (nil if it has none). For adapters and optimizer state; weights are better read through Open.
func ReadAll(path string) (tensors []Tensor, metadata map[string]string, err error) {
	f, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	for _, e := range f.layout.entries {
		data, err := f.Bytes(e.name)
		if err != nil {
			return nil, nil, err
		}
		tensors = append(tensors, Tensor{Name: e.name, DType: e.info.DType, Shape: slices.Clone(e.info.Shape), Data: bytes.Clone(data)})
	}
	return tensors, f.layout.metadata, nil
}
