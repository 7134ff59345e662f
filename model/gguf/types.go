package gguf

import "fmt"

// Type is how a tensor's values are stored, with ggml's numbers.
type Type uint32

// The types that DequantRows reads.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q4K  Type = 12
	Q5K  Type = 13
	Q6K  Type = 14
	BF16 Type = 30
)

// storage is what is known of a Type.
type storage struct {
	name   string
	values int // in a block; a row is whole blocks
	bytes  int // of a block
	// decode turns whole blocks into len(src)/bytes*values floats; nil if we do not read the type.
	decode func(dst []float32, src []byte)
}

// maxBlock is the most values in a block of a type that we decode.
const maxBlock = 256

// types lists every type of ggml, so that a file with tensors that we cannot decode still opens and a
// message can name them.
var types = map[Type]storage{
	F32:  {"F32", 1, 4, decodeF32},
	F16:  {"F16", 1, 2, decodeF16},
	Q4_0: {"Q4_0", 32, 18, decodeQ4_0},
	Q4_1: {"Q4_1", 32, 20, decodeQ4_1},
	Q5_0: {"Q5_0", 32, 22, decodeQ5_0},
	Q5_1: {"Q5_1", 32, 24, decodeQ5_1},
	Q8_0: {"Q8_0", 32, 34, decodeQ8_0},
	9:    {"Q8_1", 32, 40, nil},
	10:   {"Q2_K", 256, 84, nil},
	11:   {"Q3_K", 256, 110, nil},
	Q4K:  {"Q4_K", 256, 144, decodeQ4K},
	Q5K:  {"Q5_K", 256, 176, decodeQ5K},
	Q6K:  {"Q6_K", 256, 210, decodeQ6K},
	15:   {"Q8_K", 256, 292, nil},
	16:   {"IQ2_XXS", 256, 66, nil},
	17:   {"IQ2_XS", 256, 74, nil},
	18:   {"IQ3_XXS", 256, 98, nil},
	19:   {"IQ1_S", 256, 50, nil},
	20:   {"IQ4_NL", 32, 18, nil},
	21:   {"IQ3_S", 256, 110, nil},
	22:   {"IQ2_S", 256, 82, nil},
	23:   {"IQ4_XS", 256, 136, nil},
	24:   {"I8", 1, 1, nil},
	25:   {"I16", 1, 2, nil},
	26:   {"I32", 1, 4, nil},
	27:   {"I64", 1, 8, nil},
	28:   {"F64", 1, 8, nil},
	29:   {"IQ1_M", 256, 56, nil},
	BF16: {"BF16", 1, 2, decodeBF16},
	34:   {"TQ1_0", 256, 54, nil},
	35:   {"TQ2_0", 256, 66, nil},
	39:   {"MXFP4", 32, 17, nil},
	40:   {"NVFP4", 64, 36, nil},
	41:   {"Q1_0", 128, 18, nil},
}

// readable lists the types that we decode, for error messages.
const readable = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K"

// String is ggml's name of the type.
func (t Type) String() string {
	if s, ok := types[t]; ok {
		return s.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}
