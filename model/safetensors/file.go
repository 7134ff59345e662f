package safetensors

import (
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/mapped"
)

// Info says what a tensor is. Shape is outermost first and empty for a scalar; it is shared, so read-only.
type Info struct {
	DType dtypes.DType
	Shape []int
}

// File is an open safetensors file, mapped into memory: reading a tensor costs no copy, and pages come
// from disk when touched. All methods may be called by many goroutines.
type File struct {
	path   string
	layout *layout

	mu   sync.RWMutex
	data []byte // the whole file; nil once closed; protected by mu
}

// errClosed is returned by reads of a closed file.
var errClosed = errors.New("the file is closed")

// Open maps a file and checks its header in full. The error names the path and what is wrong.
// The caller must Close the file, and must not truncate it before.
func Open(path string) (*File, error) {
	data, err := mapped.Open(path, ".safetensors")
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	layout, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, errors.Join(err, mapped.Close(data)))
	}
	return &File{path: path, layout: layout, data: data}, nil
}

// Path is what Open was given.
func (f *File) Path() string { return f.path }

// Names lists the tensors in the order of their data in the file.
func (f *File) Names() []string {
	names := make([]string, len(f.layout.entries))
	for i, e := range f.layout.entries {
		names[i] = e.name
	}
	return names
}

// Info describes a tensor; false if the file has none of that name.
func (f *File) Info(name string) (Info, bool) {
	i, ok := f.layout.index[name]
	if !ok {
		return Info{}, false
	}
	return f.layout.entries[i].info, true
}

// Bytes is a tensor's data, little endian and row-major, as a view of the mapped file: read-only (a write
// faults) and valid until Close. It has the size that dtype and shape ask for.
func (f *File) Bytes(name string) ([]byte, error) {
	i, ok := f.layout.index[name]
	if !ok {
		return nil, fmt.Errorf("safetensors: %s: no tensor %q", f.path, name)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.data == nil {
		return nil, fmt.Errorf("safetensors: %s: tensor %q: %w", f.path, name, errClosed)
	}
	e := f.layout.entries[i]
	begin, end := f.layout.start+e.begin, f.layout.start+e.end
	return f.data[begin:end:end], nil
}

// Metadata is a copy of the file's own notes (the header's __metadata__), empty if it has none.
func (f *File) Metadata() map[string]string {
	if f.layout.metadata == nil {
		return map[string]string{}
	}
	return maps.Clone(f.layout.metadata)
}

// Close unmaps the file. Views from Bytes must not be touched after it. A second Close does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	data := f.data
	f.data = nil
	if err := mapped.Close(data); err != nil {
		return fmt.Errorf("safetensors: %s: %w", f.path, err)
	}
	return nil
}
