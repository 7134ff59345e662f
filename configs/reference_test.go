package configs

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gorun/tools/golden"
)

// TestReferenceIsCurrent holds docs/recipe.md to the table of keys.
func TestReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	if err := Reference(&b); err != nil {
		t.Fatal(err)
	}
	golden.File(t, "../docs/recipe.md", b.String())
}

// TestEveryKeyIsDescribed: each field has a name, a line of meaning, readable tags, and a default that its
// own tags allow.
func TestEveryKeyIsDescribed(t *testing.T) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		seen := make(map[string]bool)
		for _, k := range keysOf(v.Type()) {
			at := path + k.name
			if k.name == "" || seen[k.name] {
				t.Errorf("%s (field %s): no name, or one twice", at, v.Type().Field(k.index).Name)
			}
			seen[k.name] = true
			if !strings.HasSuffix(k.doc, ".") {
				t.Errorf("%s: doc %q is no sentence", at, k.doc)
			}
			field := v.Field(k.index)
			switch k.typ.Kind() {
			case reflect.Struct:
				walk(at+".", field)
			case reflect.String:
				if k.values != nil && !slices.Contains(k.values, field.String()) {
					t.Errorf("%s: default %q is none of %q", at, field.String(), k.values)
				}
			case reflect.Int, reflect.Int64:
				if k.bounds == nil || !k.bounds.holds(float64(field.Int())) {
					t.Errorf("%s: no range, or the default %d is outside", at, field.Int())
				}
			case reflect.Float64:
				if k.bounds == nil || !k.bounds.holds(field.Float()) {
					t.Errorf("%s: no range, or the default %v is outside", at, field.Float())
				}
			}
		}
	}
	walk("", reflect.ValueOf(Default()).Elem())
}

// TestHintsAreNeeded: a name told to be elsewhere is not a key where it is told.
func TestHintsAreNeeded(t *testing.T) {
	for name, hint := range elsewhere {
		if section, rest, dotted := strings.Cut(name, "."); dotted {
			k, ok := findKey(recipeType, section)
			if !ok {
				t.Errorf("%s: no section %s", name, section)
				continue
			}
			if _, exists := findKey(k.typ, rest); exists {
				t.Errorf("%s is a key", name)
			}
		}
		target, ok := strings.CutPrefix(hint, "use ")
		if !ok {
			continue
		}
		section, rest, dotted := strings.Cut(strings.Trim(target, "[]"), ".")
		if !dotted {
			continue
		}
		k, ok := findKey(recipeType, section)
		if !ok {
			t.Errorf("%s: the hint %q names no section", name, hint)
			continue
		}
		if _, exists := findKey(k.typ, rest); !exists {
			t.Errorf("%s: the hint %q names no key", name, hint)
		}
	}
}
