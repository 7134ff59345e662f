package weights

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/gguf"
	"gorun/model/spec"
)

// chunkValues bounds the float32 values dequantised at a time.
const chunkValues = 1 << 16

// ggufSource is a Source over a GGUF file.
type ggufSource struct {
	file    *gguf.File
	decoder *spec.Decoder
	arch    string
	names   []string
	shapes  map[string][]int // by Hugging Face name
	chunks  sync.Pool        // *[]float32
	digest  string
}

// openGGUF opens a GGUF file.
func openGGUF(path string) (*Model, error) {
	file, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := ggufModel(path, file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

func ggufModel(path string, file *gguf.File) (*Model, error) {
	meta := file.Meta()
	if n := meta["split.count"]; n != nil && fmt.Sprint(n) != "0" && fmt.Sprint(n) != "1" {
		return nil, fmt.Errorf("is one of %v parts; merge them first with llama.cpp's llama-gguf-split --merge", n)
	}
	stored := make(map[string]gguf.TensorInfo)
	for _, t := range file.Tensors() {
		stored[t.Name] = t
	}
	decoder, err := spec.FromGGUF(meta, func(name string) bool { _, ok := stored[name]; return ok })
	if err != nil {
		return nil, err
	}
	if err := ropeFactors(file, stored, decoder); err != nil {
		return nil, err
	}
	arch, _ := meta["general.architecture"].(string)
	s := &ggufSource{file: file, decoder: decoder, arch: arch, shapes: make(map[string][]int)}
	mapped := make(map[string]bool)
	for _, t := range decoder.Tensors() {
		s.names = append(s.names, t.Name)
		own := GGUFName(t.Name)
		mapped[own] = true
		if info, ok := stored[own]; ok {
			s.shapes[t.Name] = info.Shape
		}
	}
	var beyond []string
	for name := range stored {
		if !mapped[name] && !harmlessGGUF(name) {
			beyond = append(beyond, name)
		}
	}
	if err := check(decoder, s.Info, GGUFName, beyond); err != nil {
		return nil, err
	}
	if s.digest, err = digest(decoder, s); err != nil {
		return nil, err
	}
	return &Model{Decoder: decoder, Source: s, Path: path, Meta: meta}, nil
}

// harmlessGGUF says whether a tensor holds rotary values: read by ropeFactors, or derivable.
func harmlessGGUF(name string) bool {
	return strings.HasPrefix(name, "rope_") || strings.HasSuffix(name, ".attn_rot_embd.weight") || strings.HasSuffix(name, ".rope_freqs.weight")
}

// ropeFactors hands the tensors with rotary factors to the decoder.
func ropeFactors(file *gguf.File, stored map[string]gguf.TensorInfo, d *spec.Decoder) error {
	read := func(name string) ([]float32, error) {
		info, ok := stored[name]
		if !ok || len(info.Shape) != 1 || info.Shape[0] > d.HeadDim {
			return nil, fmt.Errorf("%s: missing or not a list of at most %d values", name, d.HeadDim)
		}
		values := make([]float32, info.Shape[0])
		return values, file.DequantRows(name, 0, len(values), values)
	}
	var short, long []float32
	var err, longErr error
	switch d.Rope.Kind {
	case "factors":
		short, err = read(spec.GGUFRopeFreqs)
	case "longrope":
		short, err = read(spec.GGUFFactorsShort)
		long, longErr = read(spec.GGUFFactorsLong)
	default:
		return nil
	}
	if err := errors.Join(err, longErr); err != nil {
		return err
	}
	return d.SetRopeFactors(short, long)
}

func (s *ggufSource) Names() []string { return s.names }
func (s *ggufSource) Digest() string  { return s.digest }
func (s *ggufSource) Close() error    { return s.file.Close() }

func (s *ggufSource) Info(name string) (dtypes.DType, []int, bool) {
	shape, ok := s.shapes[name]
	return dtypes.Float32, shape, ok
}

// ReadRows dequantises in chunks that stay in the processor's cache, and brings q and k rows back to
// Hugging Face's order.
func (s *ggufSource) ReadRows(name string, lo, hi int, as dtypes.DType, dst []byte) error {
	shape, ok := s.shapes[name]
	if !ok {
		return fmt.Errorf("read %s: no such tensor", name)
	}
	width, err := span(name, shape, lo, hi, as, dst)
	if err != nil || lo == hi {
		return err
	}
	own := GGUFName(name)
	paired := GGUFPairsRows(s.arch, name)
	if len(shape) == 1 {
		return s.readVector(name, own, lo, hi, as, dst, paired)
	}
	buffer := s.chunk(max(width, min(chunkValues, (hi-lo)*width)))
	defer s.chunks.Put(buffer)
	step := max(1, chunkValues/width)
	for row := lo; row < hi; row += step {
		end := min(row+step, hi)
		values := (*buffer)[:(end-row)*width]
		if err := s.dequantise(own, row, end, width, paired, values); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		Store(dst[(row-lo)*width*as.Size():], as, values)
	}
	return nil
}

// readVector reads values lo to hi of a one-dimensional tensor: a norm or a bias.
func (s *ggufSource) readVector(name, own string, lo, hi int, as dtypes.DType, dst []byte, paired bool) error {
	stored := make([]float32, s.shapes[name][0])
	if err := s.file.DequantRows(own, 0, len(stored), stored); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	values := stored[lo:hi]
	if paired {
		values = make([]float32, hi-lo)
		for i := range values {
			values[i] = stored[pairedRow(lo+i, s.decoder.HeadDim)]
		}
	}
	Store(dst, as, values)
	return nil
}

// dequantise reads Hugging Face rows lo to hi of one GGUF tensor.
func (s *ggufSource) dequantise(own string, lo, hi, width int, paired bool, values []float32) error {
	if !paired {
		return s.file.DequantRows(own, lo, hi, values)
	}
	for row := lo; row < hi; row++ {
		from := pairedRow(row, s.decoder.HeadDim)
		if err := s.file.DequantRows(own, from, from+1, values[(row-lo)*width:(row-lo+1)*width]); err != nil {
			return err
		}
	}
	return nil
}

// chunk lends a buffer of at least n values.
func (s *ggufSource) chunk(n int) *[]float32 {
	if b, ok := s.chunks.Get().(*[]float32); ok && cap(*b) >= n {
		*b = (*b)[:cap(*b)]
		return b
	}
	b := make([]float32, n)
	return &b
}
