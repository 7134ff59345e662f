package configs

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// tomlSetter is a type with its own spelling in TOML.
type tomlSetter interface {
	setTOML(value any) error
	tomlText() string
	typeWord() string // what it takes, in words
}

var (
	setterType      = reflect.TypeFor[tomlSetter]()
	datasetType     = reflect.TypeFor[Dataset]()
	datasetMapType  = reflect.TypeFor[map[string]Dataset]()
	recipeType      = reflect.TypeFor[Recipe]()
	stringSliceType = reflect.TypeFor[[]string]()
)

// key is one field of a section, as its struct tags describe it.
type key struct {
	name    string
	doc     string
	values  []string // enumeration, or nil
	bounds  *bounds  // of numbers, or nil
	instead string   // words for a default that depends on other keys
	index   int      // field of the struct
	typ     reflect.Type
}

// isTable says that the key is a section of its own.
func (k key) isTable() bool {
	return k.typ.Kind() == reflect.Struct || k.typ.Kind() == reflect.Map
}

// keysOf lists the keys of a section in the order of its struct.
func keysOf(t reflect.Type) []key {
	list := make([]key, t.NumField())
	for i := range list {
		f := t.Field(i)
		k := key{
			name:    f.Tag.Get("toml"),
			doc:     f.Tag.Get("doc"),
			instead: f.Tag.Get("default"),
			index:   i,
			typ:     f.Type,
		}
		if v := f.Tag.Get("values"); v != "" {
			k.values = strings.Split(v, "|")
		}
		if v := f.Tag.Get("range"); v != "" {
			k.bounds = parseBounds(v)
		}
		list[i] = k
	}
	return list
}

// findKey looks a name up in a section.
func findKey(t reflect.Type, name string) (key, bool) {
	for _, k := range keysOf(t) {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// names lists the names of keys.
func names(keys []key) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}

// typeWord says what a key takes, in words.
func typeWord(t reflect.Type) string {
	if s, ok := reflect.New(t).Interface().(tomlSetter); ok {
		return s.typeWord()
	}
	if t == stringSliceType {
		return "a list of strings"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Array:
		return fmt.Sprintf("a list of %d numbers", t.Len())
	case reflect.Struct, reflect.Map:
		return "a section"
	default:
		return "an integer"
	}
}

// bounds is an interval of numbers.
type bounds struct {
	text           string
	lo, hi         float64
	loOpen, hiOpen bool
}

// parseBounds reads ">=0", ">0", "[0,1)" or "[1,9]". Tags are ours: a wrong one is a broken invariant.
func parseBounds(text string) *bounds {
	b := &bounds{text: text, lo: math.Inf(-1), hi: math.Inf(1)}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic(fmt.Sprintf("configs: range tag %q: %v", text, err))
		}
		return v
	}
	if rest, ok := strings.CutPrefix(text, ">="); ok {
		b.lo = number(rest)
		return b
	}
	if rest, ok := strings.CutPrefix(text, ">"); ok {
		b.lo, b.loOpen = number(rest), true
		return b
	}
	low, high, ok := strings.Cut(text, ",")
	if !ok || len(low) < 2 || len(high) < 2 {
		panic(fmt.Sprintf("configs: range tag %q is no interval", text))
	}
	b.lo, b.loOpen = number(low[1:]), low[0] == '('
	b.hi, b.hiOpen = number(high[:len(high)-1]), high[len(high)-1] == ')'
	return b
}

// holds says whether v lies within; NaN does not.
func (b *bounds) holds(v float64) bool {
	low := v > b.lo || (!b.loOpen && v == b.lo)
	high := v < b.hi || (!b.hiOpen && v == b.hi)
	return low && high
}

// words says the interval as a sentence's end.
func (b *bounds) words() string {
	low := fmt.Sprintf("at least %v", b.lo)
	if b.loOpen {
		low = fmt.Sprintf("more than %v", b.lo)
	}
	switch {
	case math.IsInf(b.hi, 1):
		return low
	case b.hiOpen:
		return fmt.Sprintf("%s and less than %v", low, b.hi)
	default:
		return fmt.Sprintf("%s and at most %v", low, strconv.FormatFloat(b.hi, 'f', -1, 64))
	}
}
