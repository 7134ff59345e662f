package gguf

// Blocks of 256 values in 8 parts of 32 (Q4_K, Q5_K) or 16 parts of 16 (Q6_K), each with a small integer
// scale of its own, which d scales. As in quants.go, products are rounded before the subtraction.

// scaleMin unpacks part j's 6-bit scale and minimum from the 12 bytes that hold 8 of each: bytes 0-3 and 4-7
// have the low 6 bits of scales and minima 0-3 and, above them, the top 2 bits of 4-7; bytes 8-11 have the
// low 4 bits of 4-7, scale below minimum.
func scaleMin(packed *[12]byte, j int) (scale, minimum float32) {
	if j < 4 {
		return float32(packed[j] & 63), float32(packed[j+4] & 63)
	}
	both := packed[j+4]
	return float32(both&15 | packed[j-4]>>6<<4), float32(both>>4 | packed[j]>>6<<4)
}

// decodeQ4K: d, dmin, 12 bytes of scales, then 4 bits a value: 32 bytes hold part 2j low, part 2j+1 high.
func decodeQ4K(dst []float32, src []byte) {
	for ; len(src) >= 144; src, dst = src[144:], dst[256:] {
		b, y := (*[144]byte)(src), (*[256]float32)(dst)
		d, dmin := half16(b[:]), half16(b[2:])
		packed := (*[12]byte)(b[4:])
		for j := 0; j < 8; j += 2 {
			s0, m0 := scaleMin(packed, j)
			s1, m1 := scaleMin(packed, j+1)
			s0, m0, s1, m1 = float32(d*s0), float32(dmin*m0), float32(d*s1), float32(dmin*m1)
			q := (*[32]byte)(b[16+16*j:])
			lo, hi := (*[32]float32)(y[32*j:]), (*[32]float32)(y[32*j+32:])
			for i, v := range q {
				lo[i] = float32(s0*float32(v&15)) - m0
				hi[i] = float32(s1*float32(v>>4)) - m1
			}
		}
	}
}

// decodeQ5K: as Q4_K, with 32 bytes of fifth bits before the rest: bit j of byte i is of value i of part j.
func decodeQ5K(dst []float32, src []byte) {
	for ; len(src) >= 176; src, dst = src[176:], dst[256:] {
		b, y := (*[176]byte)(src), (*[256]float32)(dst)
		d, dmin := half16(b[:]), half16(b[2:])
		packed, high := (*[12]byte)(b[4:]), (*[32]byte)(b[16:])
		for j := 0; j < 8; j += 2 {
			s0, m0 := scaleMin(packed, j)
			s1, m1 := scaleMin(packed, j+1)
			s0, m0, s1, m1 = float32(d*s0), float32(dmin*m0), float32(d*s1), float32(dmin*m1)
			q := (*[32]byte)(b[48+16*j:])
			lo, hi := (*[32]float32)(y[32*j:]), (*[32]float32)(y[32*j+32:])
			for i, v := range q {
				fifth := high[i] >> j
				lo[i] = float32(s0*float32(v&15|fifth&1<<4)) - m0
				hi[i] = float32(s1*float32(v>>4|fifth>>1&1<<4)) - m1
			}
		}
	}
}

// decodeQ6K: 128 bytes of low 4 bits, 64 of high 2, 16 signed scales, d. Each half of 128 values takes 64 low
// bytes and 32 high ones: byte i of the high ones has the bits of values i, i+32, i+64, i+96.
func decodeQ6K(dst []float32, src []byte) {
	for ; len(src) >= 210; src, dst = src[210:], dst[256:] {
		b, all := (*[210]byte)(src), (*[256]float32)(dst)
		d := half16(b[208:])
		var scale [16]float32
		for i := range scale {
			scale[i] = d * float32(int8(b[192+i]))
		}
		for h := range 2 {
			low, high := (*[64]byte)(b[64*h:]), (*[32]byte)(b[128+32*h:])
			y, s := (*[128]float32)(all[128*h:]), (*[8]float32)(scale[8*h:])
			for i, bits := range high {
				part := i / 16
				y[i] = s[part] * float32(int32(low[i]&15|bits&3<<4)-32)
				y[i+32] = s[part+2] * float32(int32(low[i+32]&15|bits>>2&3<<4)-32)
				y[i+64] = s[part+4] * float32(int32(low[i]>>4|bits>>4&3<<4)-32)
				y[i+96] = s[part+6] * float32(int32(low[i+32]>>4|bits>>6<<4)-32)
			}
		}
	}
}
