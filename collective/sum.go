package collective

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
)

// summable tells whether add knows a dtype.
func summable(t dtypes.DType) error {
	switch t {
	case dtypes.Float32, dtypes.BFloat16, dtypes.Int32:
		return nil
	}
	return fmt.Errorf("sums of %s are not made: use float32, bfloat16 or int32", t)
}

// add adds src to dst, element by element; bfloat16 is added in float32 and rounded to nearest even. The lengths are
// equal and the dtype is summable.
func add(t dtypes.DType, dst, src []byte) {
	le := binary.LittleEndian
	switch t {
	case dtypes.Float32:
		for i := 0; i+4 <= len(dst) && i+4 <= len(src); i += 4 {
			v := math.Float32frombits(le.Uint32(dst[i:])) + math.Float32frombits(le.Uint32(src[i:]))
			le.PutUint32(dst[i:], math.Float32bits(v))
		}
	case dtypes.BFloat16:
		for i := 0; i+2 <= len(dst) && i+2 <= len(src); i += 2 {
			v := widen(le.Uint16(dst[i:])) + widen(le.Uint16(src[i:]))
			le.PutUint16(dst[i:], bfloat16.FromFloat32(v).Bits())
		}
	case dtypes.Int32:
		for i := 0; i+4 <= len(dst) && i+4 <= len(src); i += 4 {
			le.PutUint32(dst[i:], le.Uint32(dst[i:])+le.Uint32(src[i:]))
		}
	default:
		panic("collective: " + summable(t).Error())
	}
}

func widen(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
