package metrics

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldNumber numbers the fields of a message.
type fieldNumber = protowire.Number

// message is a protocol buffer in the making, fields in ascending order. As in proto3, a scalar that is zero is left
// out; bytes and messages are written even if empty.
type message []byte

func (m *message) varint(field fieldNumber, v uint64) {
	if v != 0 {
		*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), v)
	}
}

func (m *message) double(field fieldNumber, v float64) {
	if v != 0 {
		*m = protowire.AppendFixed64(protowire.AppendTag(*m, field, protowire.Fixed64Type), math.Float64bits(v))
	}
}

// float is a member of a oneof, so it is written even if it is zero.
func (m *message) float(field fieldNumber, v float32) {
	*m = protowire.AppendFixed32(protowire.AppendTag(*m, field, protowire.Fixed32Type), math.Float32bits(v))
}

func (m *message) bytes(field fieldNumber, b []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), b)
}

func (m *message) str(field fieldNumber, s string) {
	if s != "" {
		m.bytes(field, []byte(s))
	}
}

// errMessage says that bytes are no protocol buffer.
var errMessage = errors.New("not a protocol buffer")

// eachField calls visit with every varint and every bytes field of a message; others are passed over.
func eachField(b []byte, visit func(field fieldNumber, v uint64, bytes []byte)) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n >= 0 {
				visit(field, v, nil)
			}
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n >= 0 {
				visit(field, 0, v)
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return errMessage
		}
		b = b[n:]
	}
	return nil
}
