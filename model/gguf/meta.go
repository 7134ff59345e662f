package gguf

import (
	"fmt"
	"math"
)

// kind is the type of a metadata value, with GGUF's numbers.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

const (
	maxName  = 65535   // bytes of a key or a tensor's name
	maxDepth = 8       // of arrays in arrays
	maxMeta  = 1 << 27 // bytes of metadata and tensor list; the largest vocabularies take some 10 MiB
	minPair  = 8 + 4 + 1
)

// readMeta reads n pairs of key and value.
func readMeta(c *cursor, n int) map[string]any {
	meta := make(map[string]any)
	for i := 0; i < n && c.err == nil; i++ {
		key := c.name("key")
		if _, ok := meta[key]; ok {
			c.fail("metadata key %q is given twice", key)
			break
		}
		value := readValue(c, kind(c.u32()), 0)
		if c.err != nil {
			c.err = fmt.Errorf("metadata %q: %w", key, c.err)
			break
		}
		meta[key] = value
	}
	return meta
}

// readValue reads one value: a Go number, bool or string of its own width, or a slice of those.
func readValue(c *cursor, k kind, depth int) any {
	switch k {
	case kindUint8:
		return c.u8()
	case kindInt8:
		return int8(c.u8())
	case kindUint16:
		return c.u16()
	case kindInt16:
		return int16(c.u16())
	case kindUint32:
		return c.u32()
	case kindInt32:
		return int32(c.u32())
	case kindFloat32:
		return math.Float32frombits(c.u32())
	case kindBool:
		return c.bool()
	case kindString:
		return c.str()
	case kindUint64:
		return c.u64()
	case kindInt64:
		return int64(c.u64())
	case kindFloat64:
		return math.Float64frombits(c.u64())
	case kindArray:
		return readArray(c, depth+1)
	}
	c.fail("unknown value type %d", k)
	return nil
}

// readArray reads the items' type, their number and them.
func readArray(c *cursor, depth int) any {
	if depth > maxDepth {
		c.fail("arrays are nested more than %d deep", maxDepth)
		return nil
	}
	switch k := kind(c.u32()); k {
	case kindUint8:
		return list(c, 1, c.u8)
	case kindInt8:
		return list(c, 1, func() int8 { return int8(c.u8()) })
	case kindUint16:
		return list(c, 2, c.u16)
	case kindInt16:
		return list(c, 2, func() int16 { return int16(c.u16()) })
	case kindUint32:
		return list(c, 4, c.u32)
	case kindInt32:
		return list(c, 4, func() int32 { return int32(c.u32()) })
	case kindFloat32:
		return list(c, 4, func() float32 { return math.Float32frombits(c.u32()) })
	case kindBool:
		return list(c, 1, c.bool)
	case kindString:
		return list(c, 8, c.str)
	case kindArray:
		return list(c, 4+8, func() any { return readArray(c, depth+1) })
	case kindUint64:
		return list(c, 8, c.u64)
	case kindInt64:
		return list(c, 8, func() int64 { return int64(c.u64()) })
	case kindFloat64:
		return list(c, 8, func() float64 { return math.Float64frombits(c.u64()) })
	default:
		c.fail("array of unknown value type %d", k)
		return nil
	}
}

// list reads a number of items of at least size bytes each.
func list[T any](c *cursor, size uint64, item func() T) []T {
	n := c.count("array items", size)
	items := make([]T, 0, n)
	for i := 0; i < n && c.err == nil; i++ {
		items = append(items, item())
	}
	return items
}

func (c *cursor) bool() bool {
	b := c.u8()
	if b > 1 {
		c.fail("at byte %d: %d is not a boolean", c.at-1, b)
	}
	return b == 1
}
