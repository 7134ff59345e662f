package gguf

import (
	"encoding/binary"
	"math"
	"slices"
)

// Encode stores values as a type that Writable lists, little endian, with the rounding of the gguf Python package, which
// is that of llama.cpp's converters and, for floats, of torch. len(src) is a multiple of the type's block, and dst has
// the size of the blocks.
func Encode(t Type, dst []byte, src []float32) {
	switch t {
	case F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], toHalf(v))
		}
	case BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], bfloat16(math.Float32bits(v)))
		}
	case Q8_0:
		encodeQ8_0(dst, src)
	default:
		panic("gguf: encode " + t.String()) // checked before anything is written
	}
}

// toHalf rounds to an IEEE binary16, to nearest even; NaNs become the quiet one. (compute's float16.FromFloat32 loses
// subnormals, which Q8_0's scales of small weights are.)
func toHalf(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b>>16) & 0x8000
	switch b &= 0x7fffffff; {
	case b > 0x7f800000:
		return sign | 0x7e00
	case b >= 0x477ff000: // half of the way from 65504, the greatest, to the next
		return sign | 0x7c00
	case b < 0x38800000: // subnormal: next to 0.5 a float32 has the same grid, so the sum rounds as it must
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((b+0xfff+b>>13&1-112<<23)>>13)
}

// bfloat16 rounds the bits of a float32 to nearest even. A NaN stays one.
func bfloat16(bits uint32) uint16 {
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// encodeQ8_0 stores blocks of 32 values as a binary16 scale and 8-bit numbers, rounded half away from zero. The numbers
// are made with the scale before it is rounded, as ggml does.
func encodeQ8_0(dst []byte, src []float32) {
	for ; len(src) >= 32; src, dst = src[32:], dst[34:] {
		most := float32(0)
		for _, v := range src[:32] {
			most = max(most, float32(math.Abs(float64(v))))
		}
		d, inverse := most/127, float32(0)
		if d != 0 {
			inverse = 1 / d
		}
		binary.LittleEndian.PutUint16(dst, toHalf(d))
		for i, v := range src[:32] {
			dst[2+i] = byte(int8(math.Round(float64(v * inverse))))
		}
	}
}

// Writable lists the types that Write can store.
func Writable() []Type { return []Type{F32, F16, BF16, Q8_0} }

// CanStore tells whether Write can store rows of so many values as t: a row must be whole blocks.
func CanStore(t Type, width int) bool {
	return slices.Contains(Writable(), t) && width%types[t].values == 0
}
