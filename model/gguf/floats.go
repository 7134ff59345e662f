package gguf

import (
	"encoding/binary"
	"math"
)

// half is the float32 of an IEEE binary16. NaNs keep their bits, as numpy's do.
func half(h uint16) float32 {
	const infinity = 0x7c00 << 13
	b := uint32(h&0x7fff) << 13
	if b < infinity { // moved into place, the bits are the value over 2^112; the product is exact
		b = math.Float32bits(math.Float32frombits(b) * 0x1p112)
	} else {
		b += (255 - 31) << 23
	}
	return math.Float32frombits(b | uint32(h&0x8000)<<16)
}

func half16(b []byte) float32 { return half(binary.LittleEndian.Uint16(b)) }

// The loops take 8 values at a time through array pointers, which spares a bounds check on each.

func decodeF32(dst []float32, src []byte) {
	for ; len(dst) >= 8; src, dst = src[32:], dst[8:] {
		b, y := (*[32]byte)(src), (*[8]float32)(dst)
		for i := range 8 {
			y[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func decodeF16(dst []float32, src []byte) {
	for ; len(dst) >= 8; src, dst = src[16:], dst[8:] {
		b, y := (*[16]byte)(src), (*[8]float32)(dst)
		for i := range 8 {
			y[i] = half(binary.LittleEndian.Uint16(b[2*i:]))
		}
	}
	for i := range dst {
		dst[i] = half(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func decodeBF16(dst []float32, src []byte) {
	for ; len(dst) >= 8; src, dst = src[16:], dst[8:] {
		b, y := (*[16]byte)(src), (*[8]float32)(dst)
		for i := range 8 {
			y[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
		}
	}
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}
