package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/gomlx/compute/dtypes"
)

// Tensor is one tensor with its data, little endian and row-major. Shape is outermost first and empty for
// a scalar.
type Tensor struct {
	Name  string
	DType dtypes.DType
	Shape []int
	Data  []byte
}

// Write writes a file whose bytes are those of the reference library: tensors by dtype, widest first, then
// by name; the header padded with spaces to a multiple of 8. Metadata keys are sorted (the reference leaves
// their order to chance), and no metadata is written when there is none. The same arguments give the same
// bytes.
//
// The file appears whole or not at all: it is written beside its place, synced, and renamed. When that
// fails (a full disk, say) what was at path before stays, and nothing else is left behind. Faults in the
// arguments are all reported, joined, before anything is written. tensors is not changed.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	if err := writeFile(path, tensors, metadata, createExclusive); err != nil {
		return fmt.Errorf("safetensors: write %s: %w", path, err)
	}
	return nil
}

func writeFile(path string, tensors []Tensor, metadata map[string]string, create createFunc) error {
	return writeItems(path, inMemory(tensors), metadata, create)
}

// item is a tensor to write and how its data comes.
type item struct {
	name  string
	dtype dtypes.DType
	shape []int
	size  int // bytes that write gives
	write func(w io.Writer) error
}

// inMemory are tensors whose data is at hand.
func inMemory(tensors []Tensor) []item {
	items := make([]item, len(tensors))
	for i, t := range tensors {
		items[i] = item{t.Name, t.DType, t.Shape, len(t.Data), func(w io.Writer) error { _, err := w.Write(t.Data); return err }}
	}
	return items
}

func writeItems(path string, items []item, metadata map[string]string, create createFunc) error {
	if err := checkItems(items, metadata); err != nil {
		return err
	}
	sorted := slices.SortedFunc(slices.Values(items), func(a, b item) int {
		return cmp.Or(cmp.Compare(byDType(a.dtype), byDType(b.dtype)), cmp.Compare(a.name, b.name))
	})
	header := buildHeader(sorted, metadata)
	if len(header) > maxHeader {
		return fmt.Errorf("header of %d bytes exceeds the limit of %d; write fewer tensors to a file", len(header), maxHeader)
	}
	size := int64(lengthBytes + len(header))
	for _, t := range sorted {
		size += int64(t.size)
	}
	return replace(path, size, create, func(w io.Writer) error {
		if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
			return err
		}
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, t := range sorted {
			if err := t.write(w); err != nil {
				return fmt.Errorf("tensor %q: %w", t.name, err)
			}
		}
		return nil
	})
}

// checkItems refuses what could not be read back.
func checkItems(items []item, metadata map[string]string) error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	seen := make(map[string]bool, len(items))
	for _, t := range items {
		if t.name == metadataKey || !utf8.ValidString(t.name) {
			fault("tensor %q: not a usable name", t.name)
		}
		if seen[t.name] {
			fault("tensor %q: given twice", t.name)
		}
		seen[t.name] = true
		if byDType(t.dtype) < 0 {
			fault("tensor %q: dtype %s is not in the format; known: %s", t.name, t.dtype, knownNames())
			continue
		}
		size, ok := byteSize(Info{DType: t.dtype, Shape: t.shape})
		if !ok {
			fault("tensor %q: impossible shape %v", t.name, t.shape)
		} else if size != t.size {
			fault("tensor %q: %s of shape %v takes %d bytes, got %d", t.name, t.dtype, t.shape, size, t.size)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			fault("metadata %q: not valid UTF-8", key)
		}
	}
	return errors.Join(faults...)
}

// buildHeader is the padded header of tensors laid out in the order given.
func buildHeader(items []item, metadata map[string]string) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	if len(metadata) > 0 {
		quote(&b, metadataKey)
		b.WriteByte(':')
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			b.WriteByte("{,"[min(i, 1)])
			quote(&b, key)
			b.WriteByte(':')
			quote(&b, metadata[key])
		}
		b.WriteByte('}')
	}
	offset := 0
	for _, t := range items {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		quote(&b, t.name)
		fmt.Fprintf(&b, `:{"dtype":"%s","shape":[`, formats[byDType(t.dtype)].name)
		for i, dim := range t.shape {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Itoa(dim))
		}
		fmt.Fprintf(&b, `],"data_offsets":[%d,%d]}`, offset, offset+t.size)
		offset += t.size
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return b.Bytes()
}

// quote writes a JSON string as Rust's serde_json does: only what must be escaped is.
// (encoding/json escapes U+2028 as well, so its bytes would differ.)
func quote(b *bytes.Buffer, s string) {
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= 0x20:
			b.WriteByte(c)
		default:
			const short = "btn\x00fr" // of 0x08 to 0x0d; 0x0b has no short form
			if c >= 0x08 && c <= 0x0d && c != 0x0b {
				b.WriteByte('\\')
				b.WriteByte(short[c-0x08])
			} else {
				fmt.Fprintf(b, `\u%04x`, c)
			}
		}
	}
	b.WriteByte('"')
}
