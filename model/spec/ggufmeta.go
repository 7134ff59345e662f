package spec

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
)

// meta reads typed values out of GGUF metadata and keeps every fault.
type meta struct {
	values map[string]any
	faults []error
}

func (m *meta) fail(key, format string, args ...any) {
	m.faults = append(m.faults, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

func (m *meta) has(key string) bool { return m.values[key] != nil }

// int reads an integer of any width. A list whose values are all equal counts as that value (newer
// converters write per-layer head counts); a list of different ones is a fault.
func (m *meta) int(key string, def int) int {
	if !m.has(key) {
		return def
	}
	v := reflect.ValueOf(m.values[key])
	if v.Kind() == reflect.Slice && v.Len() > 0 {
		first, ok := metaInt(v.Index(0))
		for i := 1; ok && i < v.Len(); i++ {
			var next int
			if next, ok = metaInt(v.Index(i)); ok && next != first {
				m.fail(key, "differs between layers (%d, %d); layers of different sizes are not supported", first, next)
				return def
			}
		}
		if ok {
			return first
		}
	}
	n, ok := metaInt(v)
	if !ok {
		m.fail(key, "is a %T, must be an integer", m.values[key])
		return def
	}
	return n
}

// need is int for a key that must be there.
func (m *meta) need(key string) int {
	if !m.has(key) {
		m.fail(key, "is missing")
		return 0
	}
	return m.int(key, 0)
}

func metaInt(v reflect.Value) (int, bool) {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch {
	case v.CanInt():
		return int(v.Int()), true
	case v.CanUint() && v.Uint() <= math.MaxInt64:
		return int(v.Uint()), true
	}
	return 0, false
}

// float reads a number. A float32 becomes the shortest decimal that rounds to it: 1e-05, as config.json
// of the same model says, not 9.99999974e-06.
func (m *meta) float(key string, def float64) float64 {
	if !m.has(key) {
		return def
	}
	switch v := reflect.ValueOf(m.values[key]); {
	case v.Kind() == reflect.Float32:
		x, err := strconv.ParseFloat(strconv.FormatFloat(v.Float(), 'g', -1, 32), 64)
		if err == nil {
			return x
		}
	case v.CanFloat():
		return v.Float()
	default:
		if n, ok := metaInt(v); ok {
			return float64(n)
		}
	}
	m.fail(key, "is a %T, must be a number", m.values[key])
	return def
}

func (m *meta) string(key, def string) string {
	if !m.has(key) {
		return def
	}
	s, ok := m.values[key].(string)
	if !ok {
		m.fail(key, "is a %T, must be a string", m.values[key])
		return def
	}
	return s
}

// length is the number of items of a list; 0 when absent.
func (m *meta) length(key string) int {
	if !m.has(key) {
		return 0
	}
	v := reflect.ValueOf(m.values[key])
	if v.Kind() != reflect.Slice {
		m.fail(key, "is a %T, must be a list", m.values[key])
		return 0
	}
	return v.Len()
}
