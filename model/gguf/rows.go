package gguf

import "fmt"

// DequantRows writes rows lo to hi of a tensor to dst as float32. A row is one index of the outermost
// dimension, so of shape [n, k] it has k values, of shape [n] one. dst must hold exactly
// (hi-lo)*valuesPerRow values. The values are those of the gguf Python package, to the bit.
//
// Many goroutines may read one file, one tensor too: to dequantise fast, give each its rows.
func (f *File) DequantRows(name string, lo, hi int, dst []float32) error {
	if err := f.dequantRows(name, lo, hi, dst); err != nil {
		return fmt.Errorf("gguf: %s: tensor %q: %w", f.path, name, err)
	}
	return nil
}

func (f *File) dequantRows(name string, lo, hi int, dst []float32) error {
	i, ok := f.contents.index[name]
	if !ok {
		return fmt.Errorf("there is none of that name")
	}
	t := &f.contents.tensors[i]
	s := types[t.Type]
	if s.decode == nil {
		return fmt.Errorf("type %s cannot be read; known: %s; convert the model to one of those, with llama-quantize for example", s.name, readable)
	}
	rows := 1
	if len(t.Shape) > 0 {
		rows = t.Shape[0]
	}
	if lo < 0 || hi < lo || hi > rows {
		return fmt.Errorf("rows %d to %d are not in 0 to %d", lo, hi, rows)
	}
	if len(dst) != (hi-lo)*t.row {
		return fmt.Errorf("%d rows of %d values need %d, dst has %d", hi-lo, t.row, (hi-lo)*t.row, len(dst))
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.data == nil {
		return errClosed
	}
	src, err := f.bytes(t)
	if err != nil {
		return err
	}
	decodeRange(s, dst, src, lo*t.row)
	return nil
}

// decodeRange decodes len(dst) values of src, from value number first on. Only rows of a one-dimensional
// tensor can begin or end inside a block.
func decodeRange(s storage, dst []float32, src []byte, first int) {
	block := first / s.values
	if skip := first % s.values; skip != 0 && len(dst) > 0 {
		n := partial(s, dst, src[block*s.bytes:], skip)
		dst = dst[n:]
		block++
	}
	whole := len(dst) / s.values
	s.decode(dst[:whole*s.values], src[block*s.bytes:(block+whole)*s.bytes])
	if rest := dst[whole*s.values:]; len(rest) > 0 {
		partial(s, rest, src[(block+whole)*s.bytes:], 0)
	}
}

// partial decodes the first block of src and copies its values from skip on; it returns how many.
func partial(s storage, dst []float32, src []byte, skip int) int {
	var scratch [maxBlock]float32
	s.decode(scratch[:s.values], src[:s.bytes])
	return copy(dst, scratch[skip:s.values])
}
