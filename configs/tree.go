package configs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxRecipeBytes bounds what is parsed; real recipes are a few KiB.
const maxRecipeBytes = 64 << 10

// The parser's time grows with the cube of a key's parts and of inline tables within each other, so both
// are bounded, roughly, before it starts; real recipes have a few dozen.
const (
	maxRecipeDots   = 2000
	maxRecipeBraces = 500
)

// tree is a recipe before it has types: TOML's values by key, and where each came from.
type tree struct {
	source    string // file name, for messages
	values    map[string]any
	meta      toml.MetaData
	roots     map[string]toml.Primitive
	overrides map[string]string // dotted key -> the --set that gave it
}

// parseTree reads TOML. The error, if any, is one *Fault of syntax with its line and column.
func parseTree(source string, data []byte) (*tree, *Fault) {
	if len(data) > maxRecipeBytes {
		return nil, &Fault{Where: source, Problem: fmt.Sprintf("%d bytes are too many for a recipe (at most %d); is this the right file?", len(data), maxRecipeBytes)}
	}
	if bytes.Count(data, []byte(".")) > maxRecipeDots || bytes.Count(data, []byte("{")) > maxRecipeBraces {
		return nil, &Fault{Where: source, Problem: fmt.Sprintf("more than %d dots or %d braces; no recipe has so many, is this the right file?", maxRecipeDots, maxRecipeBraces)}
	}
	t := &tree{source: source, overrides: make(map[string]string)}
	meta, err := toml.Decode(string(data), &t.roots)
	if err == nil {
		_, err = toml.Decode(string(data), &t.values)
	}
	if err != nil {
		return nil, syntaxFault(source, err)
	}
	t.meta = meta
	if t.values == nil {
		t.values = make(map[string]any)
	}
	return t, nil
}

// syntaxFault puts the parser's position in front.
func syntaxFault(source string, err error) *Fault {
	var at toml.ParseError
	if !errors.As(err, &at) {
		return &Fault{Where: source, Problem: strings.TrimPrefix(err.Error(), "toml: "), cause: err}
	}
	return &Fault{
		Where:   fmt.Sprintf("%s:%d:%d", source, at.Position.Line, at.Position.Col),
		Field:   at.LastKey,
		Problem: at.Message,
		cause:   err,
	}
}

// where names the place that gave the key at path: the --set, or file and line (0 if not known).
func (t *tree) where(path []string) (string, int) {
	for n := len(path); n > 0; n-- {
		if set, ok := t.overrides[strings.Join(path[:n], ".")]; ok {
			return set, 0
		}
	}
	if line := t.line(path); line > 0 {
		return fmt.Sprintf("%s:%d", t.source, line), line
	}
	return t.source, 0
}

// line finds the line of a key, or of the first key above it that has one; 0 if none has.
func (t *tree) line(path []string) int {
	level, line := t.roots, 0
	for _, name := range path {
		value, ok := level[name]
		if !ok {
			break
		}
		var at toml.ParseError
		if err := t.meta.PrimitiveDecode(value, &refuser{}); errors.As(err, &at) && at.Position.Line > 0 {
			line = at.Position.Line
		}
		level = nil
		if err := t.meta.PrimitiveDecode(value, &level); err != nil {
			break
		}
	}
	return line
}

// refuser makes the decoder say where a value stands, as it does only in errors.
type refuser struct{}

var errRefused = errors.New("refused")

// UnmarshalTOML always fails.
func (*refuser) UnmarshalTOML(any) error { return errRefused }

// describe says a TOML value in a fault.
func describe(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("the string %q", clip(v))
	case int64:
		return fmt.Sprintf("the integer %d", v)
	case float64:
		return "the number " + tomlFloat(v)
	case bool:
		return fmt.Sprintf("%t", v)
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case []map[string]any:
		return "a list of tables"
	case map[string]any:
		return "a section"
	default:
		return "a date or time"
	}
}

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
