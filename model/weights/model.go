package weights

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/spec"
)

// Source gives tensors under their Hugging Face names. Its methods, Close apart, may be called from
// several goroutines at once.
type Source interface {
	// Names lists the tensors in the order of spec.Decoder.Tensors.
	Names() []string
	// Info gives the dtype that the tensor is stored in and its row-major shape. What a GGUF file holds
	// quantised counts as Float32.
	Info(name string) (dtypes.DType, []int, bool)
	// ReadRows writes rows lo to hi (exclusive) of the tensor's first dimension to dst, little-endian and
	// row-major, as Float32 or BFloat16 (rounded to nearest even). A row of a one-dimensional tensor is
	// one value. dst must have exactly the size of the rows.
	ReadRows(name string, lo, hi int, as dtypes.DType, dst []byte) error
	// Digest identifies the base: sha256, in hex, over the decoder's description and every tensor's name,
	// dtype, shape and sampled rows.
	Digest() string
	// Close unmaps the files. No ReadRows may be in progress or follow.
	Close() error
}

// Model is an opened base.
type Model struct {
	Decoder *spec.Decoder
	Source
	Path string

	// TokenizerPath is the folder with tokenizer.json; "" when there is none.
	TokenizerPath string
	// Meta is the metadata of a GGUF file, its tokenizer among it; nil for a folder.
	Meta map[string]any
}

// Open opens a Hugging Face folder or a .gguf file and checks that every tensor that the decoder needs
// is there with its shape, and none that it would leave unused; all faults are reported at once.
// Close the Model when done.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("model %s: no such folder or file: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("model: %w", err)
	}
	var m *Model
	switch {
	case info.IsDir():
		m, err = openFolder(path)
	case strings.HasSuffix(path, ".gguf"):
		m, err = openGGUF(path)
	case strings.HasSuffix(path, ".safetensors"):
		err = errors.New("is one safetensors file; give the folder, with its config.json")
	default:
		err = errors.New("is neither a folder nor a .gguf file: give the folder with config.json and the weights, or a .gguf file")
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return m, nil
}

// span checks the arguments of ReadRows and gives the number of values in a row.
func span(name string, shape []int, lo, hi int, as dtypes.DType, dst []byte) (width int, err error) {
	if as != dtypes.Float32 && as != dtypes.BFloat16 {
		return 0, fmt.Errorf("read %s: as %s; only Float32 and BFloat16 are given", name, as)
	}
	rows := 1
	width = 1
	if len(shape) > 0 {
		rows = shape[0]
		for _, n := range shape[1:] {
			width *= n
		}
	}
	if lo < 0 || hi < lo || hi > rows {
		return 0, fmt.Errorf("read %s: rows %d to %d, it has %d", name, lo, hi, rows)
	}
	if want := (hi - lo) * width * as.Size(); len(dst) != want {
		return 0, fmt.Errorf("read %s: buffer of %d bytes, rows %d to %d as %s need %d", name, len(dst), lo, hi, as, want)
	}
	return width, nil
}
