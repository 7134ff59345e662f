package gguf

import "encoding/binary"

// Blocks of 32 values: a scale d (binary16), for some a minimum m, and 4, 5 or 8 bits a value. Of the
// 4-bit halves in a byte, the low one belongs to value i, the high one to value i+16; a fifth bit is bit i
// of a word of 32.
//
// The products are wrapped in float32(...) so that no machine fuses them with the addition: Python rounds
// in between.

func decodeQ4_0(dst []float32, src []byte) {
	for ; len(src) >= 18; src, dst = src[18:], dst[32:] {
		b, y := (*[18]byte)(src), (*[32]float32)(dst)
		d := half16(b[:])
		for i := range 16 {
			q := b[2+i]
			y[i] = d * float32(int32(q&15)-8)
			y[i+16] = d * float32(int32(q>>4)-8)
		}
	}
}

func decodeQ4_1(dst []float32, src []byte) {
	for ; len(src) >= 20; src, dst = src[20:], dst[32:] {
		b, y := (*[20]byte)(src), (*[32]float32)(dst)
		d, m := half16(b[:]), half16(b[2:])
		for i := range 16 {
			q := b[4+i]
			y[i] = float32(d*float32(q&15)) + m
			y[i+16] = float32(d*float32(q>>4)) + m
		}
	}
}

func decodeQ5_0(dst []float32, src []byte) {
	for ; len(src) >= 22; src, dst = src[22:], dst[32:] {
		b, y := (*[22]byte)(src), (*[32]float32)(dst)
		d, high := half16(b[:]), binary.LittleEndian.Uint32(b[2:])
		for i := range 16 {
			q := uint32(b[6+i])
			y[i] = d * float32(int32(q&15|high>>i&1<<4)-16)
			y[i+16] = d * float32(int32(q>>4|high>>(i+16)&1<<4)-16)
		}
	}
}

func decodeQ5_1(dst []float32, src []byte) {
	for ; len(src) >= 24; src, dst = src[24:], dst[32:] {
		b, y := (*[24]byte)(src), (*[32]float32)(dst)
		d, m, high := half16(b[:]), half16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		for i := range 16 {
			q := uint32(b[8+i])
			y[i] = float32(d*float32(int32(q&15|high>>i&1<<4))) + m
			y[i+16] = float32(d*float32(int32(q>>4|high>>(i+16)&1<<4))) + m
		}
	}
}

func decodeQ8_0(dst []float32, src []byte) {
	for ; len(src) >= 34; src, dst = src[34:], dst[32:] {
		b, y := (*[34]byte)(src), (*[32]float32)(dst)
		d := half16(b[:])
		for i := range 32 {
			y[i] = float32(int8(b[2+i])) * d
		}
	}
}
