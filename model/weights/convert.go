package weights

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
)

// convertible says whether values of a stored dtype can be given.
func convertible(from dtypes.DType) bool {
	return from == dtypes.Float32 || from == dtypes.BFloat16 || from == dtypes.Float16
}

// convert writes the values of src, stored as from, to dst as to. Both are little-endian and hold the
// same number of values.
func convert(dst []byte, to dtypes.DType, src []byte, from dtypes.DType) error {
	switch {
	case from == to:
		copy(dst, src)
	case from == dtypes.BFloat16 && to == dtypes.Float32:
		for len(src) >= 2 && len(dst) >= 4 {
			binary.LittleEndian.PutUint32(dst, uint32(binary.LittleEndian.Uint16(src))<<16)
			src, dst = src[2:], dst[4:]
		}
	case from == dtypes.Float32 && to == dtypes.BFloat16:
		for len(src) >= 4 && len(dst) >= 2 {
			binary.LittleEndian.PutUint16(dst, roundBFloat16(math.Float32frombits(binary.LittleEndian.Uint32(src))))
			src, dst = src[4:], dst[2:]
		}
	case from == dtypes.Float16 && to == dtypes.Float32:
		for len(src) >= 2 && len(dst) >= 4 {
			x := float16.Float16(binary.LittleEndian.Uint16(src)).Float32()
			binary.LittleEndian.PutUint32(dst, math.Float32bits(x))
			src, dst = src[2:], dst[4:]
		}
	case from == dtypes.Float16 && to == dtypes.BFloat16:
		for len(src) >= 2 && len(dst) >= 2 {
			x := float16.Float16(binary.LittleEndian.Uint16(src)).Float32()
			binary.LittleEndian.PutUint16(dst, roundBFloat16(x))
			src, dst = src[2:], dst[2:]
		}
	default:
		return fmt.Errorf("no conversion from %s to %s", from, to)
	}
	return nil
}

// store writes float32 values to dst as Float32 or BFloat16.
func store(dst []byte, as dtypes.DType, values []float32) {
	if as == dtypes.Float32 {
		for i, x := range values {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
		return
	}
	for i, x := range values {
		binary.LittleEndian.PutUint16(dst[2*i:], roundBFloat16(x))
	}
}

// roundBFloat16 rounds to nearest even. A NaN whose payload lies in the bits cut off must not become
// an infinity.
func roundBFloat16(x float32) uint16 {
	if x != x {
		return uint16(math.Float32bits(x)>>16) | 0x40
	}
	return bfloat16.FromFloat32(x).Bits()
}
