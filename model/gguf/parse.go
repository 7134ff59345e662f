package gguf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf8"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	maxDims          = 4
	minTensor        = 8 + 4 + 4 + 8 // bytes of an entry of the tensor list
)

// TensorInfo says what a tensor is. Shape is outermost first, as in Hugging Face's files (GGUF itself lists
// dimensions innermost first); it is shared, so read-only.
type TensorInfo struct {
	Name  string
	Type  Type
	Shape []int
}

// tensor is one entry of the tensor list.
type tensor struct {
	TensorInfo
	offset uint64 // from the start of the data
	values int    // in all
	row    int    // values in a row: all dimensions but the outermost
	size   int    // bytes
}

// contents is what a checked file holds.
type contents struct {
	version int
	meta    map[string]any
	tensors []tensor // in the file's order
	index   map[string]int
	start   int // where the data begins in the file
}

// parse reads and checks all of a file but its values.
func parse(file []byte) (*contents, error) {
	c := &cursor{data: file[:min(len(file), maxMeta)]}
	if err := checkMagic(c); err != nil {
		return nil, err
	}
	p := &contents{index: make(map[string]int)}
	if p.version = int(c.u32()); c.err == nil {
		if err := checkVersion(uint32(p.version)); err != nil {
			return nil, err
		}
	}
	tensors := c.count("tensors", minTensor)
	pairs := c.count("metadata pairs", minPair)
	p.meta = readMeta(c, pairs)
	for i := 0; i < tensors && c.err == nil; i++ {
		p.readTensor(c)
	}
	if c.err != nil {
		if len(file) > maxMeta {
			return nil, fmt.Errorf("metadata must fit in the first %d bytes: %w", maxMeta, c.err)
		}
		return nil, c.err
	}
	return p, p.place(c.at, len(file))
}

func checkMagic(c *cursor) error {
	got := c.take(uint64(len(magic)))
	switch {
	case c.err != nil:
		return fmt.Errorf("is %d bytes long, too short for a GGUF file; is the download complete?", len(c.data))
	case string(got) == magic:
		return nil
	case bytes.HasPrefix(c.data, []byte("version https://git-lfs")):
		return errors.New("is a Git LFS pointer, not the model: run `git lfs pull`")
	}
	return fmt.Errorf("begins with %q, not %q: this is not a GGUF file", got, magic)
}

func checkVersion(version uint32) error {
	switch {
	case version == 2 || version == 3:
		return nil
	case version == 1:
		return errors.New("GGUF version 1 is not supported; convert the model again with a current llama.cpp")
	case version&0xffff == 0 && version != 0:
		return errors.New("is a big-endian GGUF file, which is not supported; convert the model again on a little-endian machine")
	}
	return fmt.Errorf("GGUF version %d is not supported; known: 2, 3", version)
}

// readTensor reads an entry of the tensor list and checks all that does not need the others.
func (p *contents) readTensor(c *cursor) {
	t := tensor{TensorInfo: TensorInfo{Name: c.name("tensor name")}}
	if c.err == nil && !utf8.ValidString(t.Name) {
		c.fail("tensor %q: the name is not valid UTF-8", t.Name)
	}
	if _, ok := p.index[t.Name]; ok {
		c.fail("tensor %q is given twice", t.Name)
	}
	dims := c.u32()
	if c.err == nil && dims > maxDims {
		c.fail("tensor %q: %d dimensions, at most %d are possible", t.Name, dims, maxDims)
	}
	inner := make([]uint64, 0, maxDims)
	for range min(dims, maxDims) {
		inner = append(inner, c.u64())
	}
	t.Type = Type(c.u32())
	t.offset = c.u64()
	if c.err == nil {
		c.err = t.measure(inner)
	}
	if c.err == nil {
		p.index[t.Name] = len(p.tensors)
		p.tensors = append(p.tensors, t)
	}
}

// measure works out shape and sizes from the dimensions, innermost first.
func (t *tensor) measure(inner []uint64) error {
	s, ok := types[t.Type]
	if !ok {
		return fmt.Errorf("tensor %q: unknown type %d; this file needs a newer gorun", t.Name, uint32(t.Type))
	}
	values := uint64(1)
	for i, dim := range inner {
		hi, lo := bits.Mul64(values, dim)
		if hi != 0 || dim > maxInt || lo > maxInt {
			return fmt.Errorf("tensor %q: dimensions %v overflow", t.Name, inner)
		}
		if i == len(inner)-1 {
			t.row = int(values)
		}
		values = lo
		t.Shape = append(t.Shape, int(dim))
	}
	slices.Reverse(t.Shape)
	if len(inner) == 0 {
		t.row = 1
		t.Shape = []int{}
	}
	width := uint64(1)
	if len(inner) > 0 {
		width = inner[0]
	}
	if width%uint64(s.values) != 0 {
		return fmt.Errorf("tensor %q: the innermost of dimensions %v is not a multiple of %s's block of %d", t.Name, t.Shape, s.name, s.values)
	}
	hi, size := bits.Mul64(values/uint64(s.values), uint64(s.bytes))
	if hi != 0 || size > maxInt {
		return fmt.Errorf("tensor %q: %s of shape %v overflows", t.Name, s.name, t.Shape)
	}
	t.values, t.size = int(values), int(size)
	return nil
}

const maxInt = uint64(^uint(0) >> 1)

// place finds where the data begins and checks that every tensor lies in it, aligned and without overlap.
// end is the end of the tensor list.
func (p *contents) place(end, size int) error {
	align := uint64(defaultAlignment)
	if value, ok := p.meta["general.alignment"]; ok {
		a, isUint32 := value.(uint32)
		if !isUint32 || a == 0 || a&(a-1) != 0 {
			return fmt.Errorf("metadata \"general.alignment\" is %T %v, must be a uint32 power of two", value, value)
		}
		align = uint64(a)
	}
	start := (uint64(end) + align - 1) / align * align
	data := uint64(0)
	if uint64(size) > start {
		data = uint64(size) - start
	}
	p.start = int(min(start, uint64(size)))
	order := make([]*tensor, len(p.tensors))
	for i := range p.tensors {
		order[i] = &p.tensors[i]
	}
	slices.SortStableFunc(order, func(a, b *tensor) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size))
	})
	next := uint64(0)
	for i, t := range order {
		if t.offset%align != 0 {
			return fmt.Errorf("tensor %q: offset %d is not a multiple of the alignment %d", t.Name, t.offset, align)
		}
		if t.offset < next {
			return fmt.Errorf("tensor %q: offset %d lies inside tensor %q, which ends at %d", t.Name, t.offset, order[i-1].Name, next)
		}
		if t.offset > data || uint64(t.size) > data-t.offset {
			return fmt.Errorf("tensor %q: %d bytes at offset %d exceed the %d bytes of data in the file; is the download complete?",
				t.Name, t.size, t.offset, data)
		}
		next = t.offset + uint64(t.size)
	}
	return nil
}
