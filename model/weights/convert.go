package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/float16"
)

// convertible says whether values of a stored dtype can be given.
func convertible(from dtypes.DType) bool {
	return from == dtypes.Float32 || from == dtypes.BFloat16 || from == dtypes.Float16
}

// convert writes the values of src, stored as from, to dst as to. Both are little-endian and hold the
// same number of values.
func convert(dst []byte, to dtypes.DType, src []byte, from dtypes.DType) error {
	if from != to && (!convertible(from) || to != dtypes.Float32 && to != dtypes.BFloat16) {
		return fmt.Errorf("no conversion from %s to %s", from, to)
	}
	if len(src)/from.Size() != len(dst)/to.Size() {
		return fmt.Errorf("%d bytes of %s do not fill %d bytes of %s", len(src), from, len(dst), to)
	}
	switch {
	case from == to:
		copy(dst, src)
	case from == dtypes.BFloat16:
		widenBFloat16(dst, src)
	case from == dtypes.Float32:
		narrowFloat32(dst, src)
	case to == dtypes.Float32:
		table := float16Table()
		for i := range len(src) / 2 {
			binary.LittleEndian.PutUint32(dst[4*i:4*i+4], table[binary.LittleEndian.Uint16(src[2*i:2*i+2])])
		}
	default:
		table := float16Table()
		for i := range len(src) / 2 {
			bits := table[binary.LittleEndian.Uint16(src[2*i:2*i+2])]
			binary.LittleEndian.PutUint16(dst[2*i:2*i+2], roundBits(bits))
		}
	}
	return nil
}

// widenBFloat16 appends 16 zero bits to every value, four values at a time.
func widenBFloat16(dst, src []byte) {
	for len(src) >= 8 && len(dst) >= 16 {
		four := binary.LittleEndian.Uint64(src)
		binary.LittleEndian.PutUint64(dst, four<<16&0xFFFF0000|four<<32&0xFFFF000000000000)
		binary.LittleEndian.PutUint64(dst[8:], four>>16&0xFFFF0000|four&0xFFFF000000000000)
		src, dst = src[8:], dst[16:]
	}
	for len(src) >= 2 && len(dst) >= 4 {
		binary.LittleEndian.PutUint32(dst, uint32(binary.LittleEndian.Uint16(src))<<16)
		src, dst = src[2:], dst[4:]
	}
}

// narrowFloat32 rounds every value, four at a time.
func narrowFloat32(dst, src []byte) {
	for len(src) >= 16 && len(dst) >= 8 {
		a, b := binary.LittleEndian.Uint64(src), binary.LittleEndian.Uint64(src[8:])
		binary.LittleEndian.PutUint64(dst, uint64(roundBits(uint32(a)))|uint64(roundBits(uint32(a>>32)))<<16|
			uint64(roundBits(uint32(b)))<<32|uint64(roundBits(uint32(b>>32)))<<48)
		src, dst = src[16:], dst[8:]
	}
	for len(src) >= 4 && len(dst) >= 2 {
		binary.LittleEndian.PutUint16(dst, roundBits(binary.LittleEndian.Uint32(src)))
		src, dst = src[4:], dst[2:]
	}
}

// float16Table holds the float32 bits of every float16.
var float16Table = sync.OnceValue(func() *[1 << 16]uint32 {
	table := new([1 << 16]uint32)
	for i := range table {
		table[i] = math.Float32bits(float16.Float16(i).Float32())
	}
	return table
})

// Store writes float32 values to dst as Float32 or BFloat16.
func Store(dst []byte, as dtypes.DType, values []float32) {
	if as == dtypes.Float32 {
		for i, x := range values {
			binary.LittleEndian.PutUint32(dst[4*i:4*i+4], math.Float32bits(x))
		}
		return
	}
	for i, x := range values {
		binary.LittleEndian.PutUint16(dst[2*i:2*i+2], roundBits(math.Float32bits(x)))
	}
}

// roundBits rounds the bits of a float32 to bfloat16, to nearest even. A NaN whose payload lies in the
// bits cut off must not become an infinity.
func roundBits(bits uint32) uint16 {
	if bits&0x7FFFFFFF > 0x7F800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7FFF + bits>>16&1) >> 16)
}
