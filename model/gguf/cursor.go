package gguf

import (
	"encoding/binary"
	"fmt"
)

// cursor reads the front of a file. After the first error every read gives zero; err says what and where.
type cursor struct {
	data []byte
	at   int
	err  error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// left is how many bytes are yet to read.
func (c *cursor) left() uint64 { return uint64(len(c.data) - c.at) }

// take reads n bytes, as a view.
func (c *cursor) take(n uint64) []byte {
	if c.err != nil {
		return nil
	}
	if n > c.left() {
		c.fail("at byte %d: %d more bytes expected, %d left; is the download complete?", c.at, n, c.left())
		return nil
	}
	view := c.data[c.at : c.at+int(n)]
	c.at += int(n)
	return view
}

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// str reads a length and that many bytes.
func (c *cursor) str() string { return string(c.take(c.u64())) }

// name reads a string of at most maxName bytes.
func (c *cursor) name(what string) string {
	at := c.at
	n := c.u64()
	if n > maxName {
		c.fail("at byte %d: %s of %d bytes exceeds the limit of %d", at, what, n, maxName)
	}
	return string(c.take(n))
}

// count reads a number of items that take at least size bytes each. A number that the rest of the file
// cannot hold is a fault, found before anything is made for the items.
func (c *cursor) count(what string, size uint64) int {
	at := c.at
	n := c.u64()
	if c.err == nil && n > c.left()/size {
		c.fail("at byte %d: %d %s cannot fit the %d bytes that are left; is the download complete?", at, n, what, c.left())
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}
