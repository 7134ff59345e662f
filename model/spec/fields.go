package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// fields reads typed values out of a JSON object and keeps every fault, so that a caller sees all of
// them at once. A key that is absent or null gives the default.
type fields struct {
	prefix string // "rope_scaling." for a nested object, for messages
	raw    map[string]json.RawMessage
	faults *[]error
}

// fail records a fault of one key.
func (f fields) fail(key, format string, args ...any) {
	*f.faults = append(*f.faults, fmt.Errorf("%s%s: %s", f.prefix, key, fmt.Sprintf(format, args...)))
}

// present says whether the key is there at all, null included.
func (f fields) present(key string) bool {
	_, ok := f.raw[key]
	return ok
}

// has says whether the key is there with a value.
func (f fields) has(key string) bool {
	v, ok := f.raw[key]
	return ok && string(v) != "null"
}

// show is the value as written, cut to a readable length.
func (f fields) show(key string) string {
	const most = 40
	s := string(f.raw[key])
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}

// int reads an integer; 4096.0 counts as one, as Python writes it at times.
func (f fields) int(key string, def int) int {
	if !f.has(key) {
		return def
	}
	n, ok := parseInt(f.raw[key])
	if !ok {
		f.fail(key, "is %s, must be an integer", f.show(key))
		return def
	}
	return n
}

func parseInt(raw json.RawMessage) (int, bool) {
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<52 {
		return 0, false
	}
	return int(x), true
}

func (f fields) float(key string, def float64) float64 {
	if !f.has(key) {
		return def
	}
	x, err := strconv.ParseFloat(string(f.raw[key]), 64)
	if err != nil {
		f.fail(key, "is %s, must be a number", f.show(key))
		return def
	}
	return x
}

func (f fields) bool(key string, def bool) bool {
	if !f.has(key) {
		return def
	}
	var b bool
	if json.Unmarshal(f.raw[key], &b) != nil {
		f.fail(key, "is %s, must be true or false", f.show(key))
		return def
	}
	return b
}

func (f fields) string(key, def string) string {
	if !f.has(key) {
		return def
	}
	var s string
	if json.Unmarshal(f.raw[key], &s) != nil {
		f.fail(key, "is %s, must be a string", f.show(key))
		return def
	}
	return s
}

func (f fields) strings(key string) []string {
	if !f.has(key) {
		return nil
	}
	var list []string
	if json.Unmarshal(f.raw[key], &list) != nil {
		f.fail(key, "is %s, must be a list of strings", f.show(key))
		return nil
	}
	return list
}

func (f fields) floats(key string) []float64 {
	if !f.has(key) {
		return nil
	}
	var list []float64
	if json.Unmarshal(f.raw[key], &list) != nil {
		f.fail(key, "is %s, must be a list of numbers", f.show(key))
		return nil
	}
	return list
}

// ints reads an integer or a list of integers; null gives nil, an absent key gives def.
func (f fields) ints(key string, def []int) []int {
	if !f.present(key) {
		return def
	}
	if !f.has(key) {
		return nil
	}
	if n, ok := parseInt(f.raw[key]); ok {
		return []int{n}
	}
	var items []json.RawMessage
	if json.Unmarshal(f.raw[key], &items) != nil {
		f.fail(key, "is %s, must be an integer or a list of integers", f.show(key))
		return nil
	}
	list := make([]int, 0, len(items))
	for i, item := range items {
		n, ok := parseInt(item)
		if !ok {
			f.fail(key, "item %d is not an integer", i)
			return nil
		}
		list = append(list, n)
	}
	return list
}

// object reads a nested object; nil when absent, null or empty.
func (f fields) object(key string) (fields, bool) {
	if !f.has(key) {
		return fields{}, false
	}
	sub := fields{prefix: f.prefix + key + ".", faults: f.faults}
	if json.Unmarshal(f.raw[key], &sub.raw) != nil {
		f.fail(key, "is %s, must be an object", f.show(key))
		return fields{}, false
	}
	return sub, len(sub.raw) > 0
}
