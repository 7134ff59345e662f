package configs

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Write writes the effective recipe, every key of every section, as TOML that Load reads back to an
// equal struct.
func (r *Recipe) Write(w io.Writer) error {
	var b bytes.Buffer
	root := reflect.ValueOf(r).Elem()
	for _, section := range keysOf(recipeType) {
		field := root.Field(section.index)
		if section.typ != datasetMapType {
			writeTable(&b, section.name, field)
			continue
		}
		sets := r.ValidationDataset
		if set, ok := sets[DefaultSet]; ok && len(sets) == 1 {
			writeTable(&b, section.name, reflect.ValueOf(set))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(sets)) {
			writeTable(&b, section.name+"."+name, reflect.ValueOf(sets[name]))
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the effective recipe: %w", err)
	}
	return nil
}

// writeTable writes a section: its own keys, then the sections within it.
func writeTable(b *bytes.Buffer, path string, v reflect.Value) {
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	fmt.Fprintf(b, "[%s]\n", path)
	var inner []key
	for _, k := range keysOf(v.Type()) {
		if k.isTable() {
			inner = append(inner, k)
			continue
		}
		fmt.Fprintf(b, "%s = %s\n", k.name, tomlValue(v.Field(k.index)))
	}
	for _, k := range inner {
		writeTable(b, path+"."+k.name, v.Field(k.index))
	}
}

// tomlValue spells a field's value in TOML.
func tomlValue(v reflect.Value) string {
	if reflect.PointerTo(v.Type()).Implements(setterType) {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		if s, ok := p.Interface().(tomlSetter); ok {
			return s.tomlText()
		}
	}
	switch v.Kind() {
	case reflect.String:
		return tomlString(v.String())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Float64:
		return tomlFloat(v.Float())
	case reflect.Array, reflect.Slice:
		list := make([]string, v.Len())
		for i := range list {
			list[i] = tomlValue(v.Index(i))
		}
		return "[" + strings.Join(list, ", ") + "]"
	default:
		return strconv.FormatInt(v.Int(), 10)
	}
}

// tomlFloat gives the shortest text that reads back to f as a float, not as an integer.
func tomlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	switch {
	case strings.HasSuffix(s, "Inf"):
		return strings.ToLower(s)
	case s == "NaN":
		return "nan"
	}
	mantissa, exponent, hasExponent := strings.Cut(s, "e")
	if hasExponent {
		sign := strings.TrimSuffix(exponent[:1], "+")
		return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
	}
	if !strings.Contains(mantissa, ".") {
		return mantissa + ".0"
	}
	return s
}

// tomlString quotes s as a basic string. Bytes that are no UTF-8 become U+FFFD, as TOML has no others.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < 0x20 || c == 0x7f || c == utf8.RuneError:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
