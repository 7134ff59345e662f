package configs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ModuleValue is a number for the modules that a pattern matches.
type ModuleValue struct {
	Pattern string
	Value   int
}

// ModuleValues gives modules numbers of their own, in the order of the patterns' names: a TOML table has no order. TOML:
// { "*.q_proj" = 32 }.
type ModuleValues []ModuleValue

// setTOML takes a table of integers.
func (m *ModuleValues) setTOML(value any) error {
	table, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf(`%s given; want %s`, describe(value), m.typeWord())
	}
	list := ModuleValues(nil)
	for _, pattern := range slices.Sorted(maps.Keys(table)) {
		n, ok := table[pattern].(int64)
		if !ok || n < 1 || n > 1<<31-1 {
			return fmt.Errorf("%s given for %q; want an integer, at least 1", describe(table[pattern]), clip(pattern))
		}
		list = append(list, ModuleValue{pattern, int(n)})
	}
	*m = list
	return nil
}

// tomlText gives the value as TOML.
func (m ModuleValues) tomlText() string {
	if len(m) == 0 {
		return "{}"
	}
	items := make([]string, len(m))
	for i, v := range m {
		items[i] = tomlString(v.Pattern) + " = " + strconv.Itoa(v.Value)
	}
	return "{ " + strings.Join(items, ", ") + " }"
}

// typeWord says what the key takes.
func (m ModuleValues) typeWord() string {
	return `a table of integers by pattern, such as { "*.q_proj" = 32 }`
}
