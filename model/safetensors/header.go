package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

const (
	lengthBytes = 8           // the file starts with the header's length, little endian
	maxHeader   = 100_000_000 // the reference's limit on it
	metadataKey = "__metadata__"
)

// entry is one tensor of a header.
type entry struct {
	name       string
	info       Info
	begin, end int // bytes, counted from the end of the header
}

// layout is a checked header: entries cover the data without gap or overlap.
type layout struct {
	entries  []entry // in the order of their data
	index    map[string]int
	metadata map[string]string // nil if the file has none
	start    int               // where the data begins in the file
}

// parse reads and checks the header of a whole file.
func parse(file []byte) (*layout, error) {
	if len(file) < lengthBytes {
		return nil, fmt.Errorf("is %d bytes long, too short for a safetensors file; is the download complete?", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader {
		return nil, fmt.Errorf("header length %d exceeds the limit of %d bytes; %s", n, maxHeader, guess(file))
	}
	size := int(n)
	if size > len(file)-lengthBytes {
		return nil, fmt.Errorf("header of %d bytes does not fit a file of %d; is the download complete?", size, len(file))
	}
	l, err := parseHeader(file[lengthBytes : lengthBytes+size])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	l.start = lengthBytes + size
	return l, l.check(len(file) - l.start)
}

// guess says what a file that is not safetensors probably is.
func guess(file []byte) string {
	for _, kind := range []struct{ magic, advice string }{
		{"version https://git-lfs", "this is a Git LFS pointer, not the weights: run `git lfs pull`"},
		{"GGUF", "this is a GGUF file: name it with the ending .gguf"},
		{"PK\x03\x04", "this looks like a PyTorch .bin file: convert it to safetensors"},
		{"<", "this looks like a web page, not weights: download it again"},
		{"{", "this looks like JSON, not weights"},
	} {
		if bytes.HasPrefix(file, []byte(kind.magic)) {
			return kind.advice
		}
	}
	return "this is not a safetensors file"
}

func parseHeader(header []byte) (*layout, error) {
	dec, err := newDecoder(header)
	if err != nil {
		return nil, err
	}
	l := &layout{index: make(map[string]int)}
	err = object(dec, func(name string) error {
		if name == metadataKey {
			if err := l.readMetadata(dec); err != nil {
				return fmt.Errorf("%s: %w", metadataKey, err)
			}
			return nil
		}
		e, err := readEntry(dec)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		e.name = name
		l.entries = append(l.entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// By data; empty tensors share offsets, so by name after that.
	slices.SortFunc(l.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	for i, e := range l.entries {
		l.index[e.name] = i
	}
	return l, nil
}

func (l *layout) readMetadata(dec *json.Decoder) error {
	var values map[string]*string // null is a fault, told from ""
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return err
	}
	if string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, &values); err != nil {
		return fmt.Errorf("must map names to strings: %w", err)
	}
	l.metadata = make(map[string]string, len(values))
	for key, value := range values {
		if value == nil {
			return fmt.Errorf("%q is null, must be a string", key)
		}
		l.metadata[key] = *value
	}
	return nil
}

// readEntry reads {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}; as in the reference, other
// fields are ignored.
func readEntry(dec *json.Decoder) (entry, error) {
	var dtype string
	var shape, offsets []int
	err := object(dec, func(name string) (err error) {
		switch name {
		case "dtype":
			dtype, err = text(dec)
		case "shape":
			shape, err = sizes(dec)
		case "data_offsets":
			offsets, err = sizes(dec)
		default:
			err = skipValue(dec)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return entry{}, err
	case dtype == "":
		return entry{}, errors.New("has no dtype")
	case shape == nil:
		return entry{}, errors.New("has no shape")
	case len(offsets) != 2:
		return entry{}, fmt.Errorf("data_offsets must be [begin, end], holds %d numbers", len(offsets))
	}
	i := byName(dtype)
	if i < 0 {
		return entry{}, fmt.Errorf("unknown dtype %q; known: %s", dtype, knownNames())
	}
	return entry{info: Info{DType: formats[i].dtype, Shape: shape}, begin: offsets[0], end: offsets[1]}, nil
}

// check holds the header against the size of the data: every tensor has the bytes that its dtype and shape
// ask for, and together they cover the data without gap or overlap.
func (l *layout) check(data int) error {
	next := 0
	for _, e := range l.entries {
		if e.begin != next || e.end < e.begin {
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] must begin at %d, where the tensor before it ends",
				e.name, e.begin, e.end, next)
		}
		if e.end > data {
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] exceed the %d bytes of data in the file; is the download complete?",
				e.name, e.begin, e.end, data)
		}
		size, ok := byteSize(e.info)
		if !ok {
			return fmt.Errorf("tensor %q: shape %v of %s overflows", e.name, e.info.Shape, formats[byDType(e.info.DType)].name)
		}
		if size != e.end-e.begin {
			return fmt.Errorf("tensor %q: %s of shape %v takes %d bytes, data_offsets [%d, %d] give it %d",
				e.name, formats[byDType(e.info.DType)].name, e.info.Shape, size, e.begin, e.end, e.end-e.begin)
		}
		next = e.end
	}
	if next != data {
		return fmt.Errorf("the tensors cover %d bytes, the file has %d bytes of data; the file is damaged", next, data)
	}
	return nil
}

// byteSize is the size of a tensor of a known dtype; false if it does not fit an int or a dimension is
// negative.
func byteSize(info Info) (int, bool) {
	total := uint64(formats[byDType(info.DType)].size)
	elements := uint64(1) // without the dtype, to overflow where the reference does even when a later dimension is 0
	for _, dim := range info.Shape {
		if dim < 0 {
			return 0, false
		}
		hi, lo := bits.Mul64(elements, uint64(dim))
		if hi != 0 {
			return 0, false
		}
		elements = lo
	}
	hi, total := bits.Mul64(elements, total)
	const maxInt = uint64(^uint(0) >> 1)
	if hi != 0 || total > maxInt {
		return 0, false
	}
	return int(total), true
}
