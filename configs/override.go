package configs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// override puts one --set section.key=value into the tree, so that it is checked as the file is. The
// value is TOML; where the key is a string, or a list of strings, quotes may be left out.
func (t *tree) override(set string) *Fault {
	where := "--set " + clip(set)
	name, raw, ok := strings.Cut(set, "=")
	if !ok {
		return &Fault{Where: where, Problem: "no = in it; write --set section.key=value"}
	}
	path := strings.Split(strings.TrimSpace(name), ".")
	if len(path) < 2 || slices.Contains(path, "") {
		return &Fault{Where: where, Problem: "no section in it; write --set section.key=value, as in --set optimizer.lr=1e-4"}
	}
	raw = strings.TrimSpace(raw)
	if bad := strings.IndexFunc(raw, unicode.IsControl); bad >= 0 || !utf8.ValidString(raw) {
		return &Fault{Where: where, Problem: "control characters or broken UTF-8 in the value"}
	}
	typ, fault := t.typeAt(path, where)
	if fault != nil {
		return fault
	}
	value, err := overrideValue(typ, raw)
	if err != nil {
		return &Fault{Where: where, Field: strings.Join(path, "."), Problem: err.Error()}
	}
	level := t.values
	for i, part := range path[:len(path)-1] {
		next, exists := level[part]
		if !exists {
			next = make(map[string]any)
			level[part] = next
		}
		table, isTable := next.(map[string]any)
		if !isTable {
			at := strings.Join(path[:i+1], ".")
			return &Fault{Where: where, Field: at, Problem: fmt.Sprintf("%s has %s where a section belongs", t.source, describe(next))}
		}
		level = table
	}
	level[path[len(path)-1]] = value
	t.overrides[strings.Join(path, ".")] = where
	return nil
}

// typeAt finds what type the key at path takes.
func (t *tree) typeAt(path []string, where string) (reflect.Type, *Fault) {
	typ := recipeType
	for i := 0; i < len(path); i++ {
		if typ == datasetMapType {
			typ = datasetType
			if _, single := findKey(typ, path[i]); !single {
				if i++; i == len(path) {
					return nil, &Fault{Where: where, Field: strings.Join(path, "."), Problem: unknown(typ, path)}
				}
			}
		}
		k, ok := findKey(typ, path[i])
		if !ok {
			return nil, &Fault{Where: where, Field: strings.Join(path[:i+1], "."), Problem: unknown(typ, path[:i+1])}
		}
		typ = k.typ
		if !k.isTable() && i+1 < len(path) {
			return nil, &Fault{Where: where, Field: strings.Join(path[:i+1], "."), Problem: fmt.Sprintf("is %s and has no keys", typeWord(typ))}
		}
	}
	switch {
	case typ == datasetMapType:
		typ = datasetType
		fallthrough
	case typ.Kind() == reflect.Struct:
		return nil, &Fault{Where: where, Field: strings.Join(path, "."), Problem: "is a section; set one of its keys: " + strings.Join(names(keysOf(typ)), ", ")}
	}
	return typ, nil
}

// overrideValue reads the text after the = for a key of the given type.
func overrideValue(typ reflect.Type, raw string) (any, error) {
	var parsed struct{ V any }
	_, err := toml.Decode("V = "+raw, &parsed)
	isString := typ.Kind() == reflect.String
	switch {
	case isString && (strings.HasPrefix(raw, `"`) || strings.HasPrefix(raw, `'`)):
		if err != nil {
			return nil, fmt.Errorf("the quotes of %s do not close as TOML's do", clip(raw))
		}
		return parsed.V, nil
	case isString && err == nil && isComposite(parsed.V):
		return parsed.V, nil
	case isString:
		return raw, nil
	case typ == stringSliceType:
		if list, isList := parsed.V.([]any); err == nil && isList {
			return list, nil
		}
		return bareList(raw)
	case err != nil && raw == "":
		return nil, fmt.Errorf("no value after the =; want %s", typeWord(typ))
	case err != nil:
		return raw, nil
	}
	return parsed.V, nil
}

// isComposite says that a TOML value is a list or a table.
func isComposite(value any) bool {
	switch value.(type) {
	case []any, []map[string]any, map[string]any:
		return true
	}
	return false
}

// bareList splits a,b or [a,b], as a shell leaves a list whose quotes it has eaten.
func bareList(raw string) ([]any, error) {
	inner, bracketed := raw, false
	if strings.HasPrefix(raw, "[") && strings.HasSuffix(raw, "]") {
		inner, bracketed = raw[1:len(raw)-1], true
	}
	if strings.TrimSpace(inner) == "" {
		return []any{}, nil
	}
	if len(inner) >= 2 && inner[0] == inner[len(inner)-1] && (inner[0] == '"' || inner[0] == '\'') {
		if body := inner[1 : len(inner)-1]; !strings.ContainsAny(body, "\"'\\,") {
			return []any{body}, nil
		}
	}
	parts := strings.Split(inner, ",")
	list := make([]any, len(parts))
	for i, part := range parts {
		if bracketed {
			part = strings.TrimSpace(part)
		}
		unclear := strings.ContainsAny(part, "\"'[]\\") || (len(parts) > 1 && strings.Contains(part, " "))
		if part == "" || unclear {
			return nil, fmt.Errorf(`%s is not clear as a list; write '["a", "b"]' within single quotes of the shell`, clip(raw))
		}
		list[i] = part
	}
	return list, nil
}
