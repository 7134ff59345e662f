package gguf

import (
	"errors"
	"fmt"
	"sync"

	"gorun/model/mapped"
)

// File is an open GGUF file, mapped into memory. All methods may be called by many goroutines.
type File struct {
	path     string
	contents *contents

	mu   sync.RWMutex
	data []byte // the whole file; nil once closed; protected by mu, held for reading while values are read
}

// errClosed is returned by reads of a closed file.
var errClosed = errors.New("the file is closed")

// Open maps a file and checks all of it but the values. The error names the path and what is wrong.
// The caller must Close the file, and must not truncate it before.
func Open(path string) (*File, error) {
	data, err := mapped.Open(path, ".gguf")
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", path, err)
	}
	contents, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", path, errors.Join(err, mapped.Close(data)))
	}
	return &File{path: path, contents: contents, data: data}, nil
}

// Path is what Open was given.
func (f *File) Path() string { return f.path }

// Version is the file's GGUF version: 2 or 3.
func (f *File) Version() int { return f.contents.version }

// Meta is the file's metadata; shared, so read-only. A value is a uint8, int8, uint16, int16, uint32, int32,
// uint64, int64, float32, float64, bool or string, or a slice of one of those ([]string, []int32, ...), or
// []any for an array of arrays. Strings are as the file has them, not always UTF-8.
func (f *File) Meta() map[string]any { return f.contents.meta }

// Tensors lists the tensors in the file's order.
func (f *File) Tensors() []TensorInfo {
	infos := make([]TensorInfo, len(f.contents.tensors))
	for i := range f.contents.tensors {
		infos[i] = f.contents.tensors[i].TensorInfo
	}
	return infos
}

// Info describes a tensor; false if the file has none of that name.
func (f *File) Info(name string) (TensorInfo, bool) {
	i, ok := f.contents.index[name]
	if !ok {
		return TensorInfo{}, false
	}
	return f.contents.tensors[i].TensorInfo, true
}

// Bytes is a tensor's stored blocks as a view of the mapped file: read-only (a write faults) and valid until
// Close.
func (f *File) Bytes(name string) ([]byte, error) {
	i, ok := f.contents.index[name]
	if !ok {
		return nil, fmt.Errorf("gguf: %s: no tensor %q", f.path, name)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.bytes(&f.contents.tensors[i])
}

// bytes is Bytes with mu held for reading.
func (f *File) bytes(t *tensor) ([]byte, error) {
	if f.data == nil {
		return nil, fmt.Errorf("gguf: %s: tensor %q: %w", f.path, t.Name, errClosed)
	}
	begin := min(f.contents.start+int(t.offset), len(f.data))
	return f.data[begin : begin+t.size : begin+t.size], nil
}

// Close unmaps the file, after the reads under way. Views from Bytes must not be touched after it. A second
// Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	data := f.data
	f.data = nil
	if err := mapped.Close(data); err != nil {
		return fmt.Errorf("gguf: %s: %w", f.path, err)
	}
	return nil
}
