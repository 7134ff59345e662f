package safetensors

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
)

// WriteDir writes the weights of a Hugging Face folder: model.safetensors if all tensors fit in maxShard bytes,
// else shards of at most that (a larger tensor has one of its own), in the order of tensors, with the index that
// names each tensor's shard. An existing weights file of the other kind must not be in dir: OpenDir would take it.
func WriteDir(dir string, tensors []Stream, metadata map[string]string, maxShard int64) error {
	shards, total, values, err := cut(tensors, maxShard)
	if err != nil {
		return fmt.Errorf("safetensors: %s: %w", dir, err)
	}
	if len(shards) <= 1 {
		return WriteStreams(filepath.Join(dir, SingleName), tensors, metadata)
	}
	where := make(map[string]string, len(tensors))
	for i, shard := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		for _, t := range shard {
			where[t.Name] = name
		}
		if err := WriteStreams(filepath.Join(dir, name), shard, metadata); err != nil {
			return err
		}
	}
	var index bytes.Buffer
	enc := json.NewEncoder(&index)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(map[string]any{"metadata": map[string]int64{"total_parameters": values, "total_size": total}, "weight_map": where})
	if err == nil {
		err = replace(filepath.Join(dir, IndexName), int64(index.Len()), createExclusive, func(w io.Writer) error {
			_, err := w.Write(index.Bytes())
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("safetensors: write %s: %w", filepath.Join(dir, IndexName), err)
	}
	return nil
}

// cut deals tensors out to shards, and counts bytes and values.
func cut(tensors []Stream, maxShard int64) (shards [][]Stream, total, values int64, err error) {
	inLast := int64(0)
	for _, t := range tensors {
		at := byDType(t.DType)
		if at < 0 {
			return nil, 0, 0, fmt.Errorf("tensor %q: dtype %s is not in the format; known: %s", t.Name, t.DType, knownNames())
		}
		n, ok := byteSize(Info{DType: t.DType, Shape: t.Shape})
		if !ok {
			return nil, 0, 0, fmt.Errorf("tensor %q: impossible shape %v", t.Name, t.Shape)
		}
		size := int64(n)
		if len(shards) == 0 || inLast+size > maxShard {
			shards, inLast = append(shards, nil), 0
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], t)
		inLast += size
		total += size
		values += size / int64(formats[at].size)
	}
	return shards, total, values, nil
}
