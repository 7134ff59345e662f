package device

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute/dtypes"
)

// Shape is a dense row-major array's element type and dimensions.
type Shape struct {
	DType dtypes.DType
	Dims  []int
}

// MakeShape is a shorthand for a Shape.
func MakeShape(dtype dtypes.DType, dims ...int) Shape { return Shape{dtype, dims} }

// Size is the number of elements.
func (s Shape) Size() int {
	n := 1
	for _, d := range s.Dims {
		n *= d
	}
	return n
}

// Bytes is the size in bytes.
func (s Shape) Bytes() int { return s.Size() * elementSize(s.DType) }

// elementSize is a dtype's size in bytes; the dtype itself does not know that of 8-bit floats.
func elementSize(d dtypes.DType) int {
	if d == dtypes.F8E4M3FN || d == dtypes.F8E5M2 {
		return 1
	}
	return d.Size()
}

// Equal tells whether two shapes are the same.
func (s Shape) Equal(o Shape) bool {
	if s.DType != o.DType || len(s.Dims) != len(o.Dims) {
		return false
	}
	for i, d := range s.Dims {
		if d != o.Dims[i] {
			return false
		}
	}
	return true
}

// String is the shape as StableHLO writes it: "4x256xf32".
func (s Shape) String() string {
	var b strings.Builder
	for _, d := range s.Dims {
		fmt.Fprintf(&b, "%dx", d)
	}
	return b.String() + dtypeName(s.DType)
}

func dtypeName(d dtypes.DType) string {
	switch d {
	case dtypes.Float32:
		return "f32"
	case dtypes.BFloat16:
		return "bf16"
	case dtypes.Int32:
		return "i32"
	case dtypes.Bool:
		return "i1"
	case dtypes.F8E4M3FN:
		return "f8E4M3FN"
	case dtypes.F8E5M2:
		return "f8E5M2"
	}
	return strings.ToLower(d.String())
}
