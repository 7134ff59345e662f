package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// encodeValue is a metadata value's type and bytes.
func encodeValue(v any) (kind, []byte, error) {
	le := binary.LittleEndian
	switch v := v.(type) {
	case uint8:
		return kindUint8, []byte{v}, nil
	case int8:
		return kindInt8, []byte{byte(v)}, nil
	case uint16:
		return kindUint16, le.AppendUint16(nil, v), nil
	case int16:
		return kindInt16, le.AppendUint16(nil, uint16(v)), nil
	case uint32:
		return kindUint32, le.AppendUint32(nil, v), nil
	case int32:
		return kindInt32, le.AppendUint32(nil, uint32(v)), nil
	case float32:
		return kindFloat32, le.AppendUint32(nil, math.Float32bits(v)), nil
	case bool:
		if v {
			return kindBool, []byte{1}, nil
		}
		return kindBool, []byte{0}, nil
	case string:
		return kindString, appendString(nil, v), nil
	case uint64:
		return kindUint64, le.AppendUint64(nil, v), nil
	case int64:
		return kindInt64, le.AppendUint64(nil, uint64(v)), nil
	case float64:
		return kindFloat64, le.AppendUint64(nil, math.Float64bits(v)), nil
	}
	return encodeArray(v)
}

// encodeArray is a list's items' type, their number and them.
func encodeArray(v any) (kind, []byte, error) {
	var item kind
	var n int
	var body []byte
	switch v := v.(type) {
	case []uint8:
		item, n, body = items(v)
	case []int8:
		item, n, body = items(v)
	case []uint16:
		item, n, body = items(v)
	case []int16:
		item, n, body = items(v)
	case []uint32:
		item, n, body = items(v)
	case []int32:
		item, n, body = items(v)
	case []float32:
		item, n, body = items(v)
	case []bool:
		item, n, body = items(v)
	case []string:
		item, n, body = items(v)
	case []uint64:
		item, n, body = items(v)
	case []int64:
		item, n, body = items(v)
	case []float64:
		item, n, body = items(v)
	default:
		return kindArray, nil, fmt.Errorf("a %T cannot be written", v)
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(item))
	return kindArray, append(binary.LittleEndian.AppendUint64(b, uint64(n)), body...), nil
}

func items[T any](list []T) (item kind, n int, body []byte) {
	var zero T
	item, _, _ = encodeValue(zero) // every T of encodeArray is one of encodeValue
	for _, x := range list {
		_, b, _ := encodeValue(x)
		body = append(body, b...)
	}
	return item, len(list), body
}
