package safetensors

import (
	"strings"

	"github.com/gomlx/compute/dtypes"
)

// format is one element type of the file format.
type format struct {
	name  string // as the header spells it
	dtype dtypes.DType
	size  int // bytes per element
}

// formats lists the types in the order in which the reference library lays tensors out: widest first,
// so that every tensor starts aligned. Types narrower than a byte (F4, F6) are left out: nothing here
// can compute with them.
var formats = []format{
	{"U64", dtypes.Uint64, 8},
	{"I64", dtypes.Int64, 8},
	{"F64", dtypes.Float64, 8},
	{"C64", dtypes.Complex64, 8},
	{"F32", dtypes.Float32, 4},
	{"U32", dtypes.Uint32, 4},
	{"I32", dtypes.Int32, 4},
	{"BF16", dtypes.BFloat16, 2},
	{"F16", dtypes.Float16, 2},
	{"U16", dtypes.Uint16, 2},
	{"I16", dtypes.Int16, 2},
	{"F8_E5M2FNUZ", dtypes.F8E5M2FNUZ, 1},
	{"F8_E4M3FNUZ", dtypes.F8E4M3FNUZ, 1},
	{"F8_E8M0", dtypes.F8E8M0FNU, 1},
	{"F8_E4M3", dtypes.F8E4M3FN, 1},
	{"F8_E5M2", dtypes.F8E5M2, 1},
	{"I8", dtypes.Int8, 1},
	{"U8", dtypes.Uint8, 1},
	{"BOOL", dtypes.Bool, 1},
}

// byName finds the position in formats of a header's spelling; -1 if unknown.
func byName(name string) int {
	for i := range formats {
		if formats[i].name == name {
			return i
		}
	}
	return -1
}

// byDType finds the position in formats of a dtype; -1 if the format has no such type.
func byDType(dtype dtypes.DType) int {
	for i := range formats {
		if formats[i].dtype == dtype {
			return i
		}
	}
	return -1
}

// knownNames lists the spellings, for error messages.
func knownNames() string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}
