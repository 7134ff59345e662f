package ckpt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Change is one key of a recipe whose value is not what it was.
type Change struct {
	Key  string // "optimizer.lr"; tables in a list are numbered from 0: "validation_dataset.0.split"
	Then string // value in the checkpoint's recipe, in TOML's form; "" if it was not there
	Now  string // value in this run's recipe; "" if it is not there
}

// String gives a change as one line: "optimizer.lr: 1e-05, was 2e-05".
func (c Change) String() string {
	return fmt.Sprintf("%s: %s, was %s", c.Key, cmp.Or(c.Now, "unset"), cmp.Or(c.Then, "unset"))
}

// RecipeDrift compares a checkpoint's recipe with this run's, both TOML, key by key, and returns what
// changed in the order of the keys. Layout, comments and the spelling of numbers do not count.
func RecipeDrift(then, now string) ([]Change, error) {
	before, err := flatten(then)
	if err != nil {
		return nil, fmt.Errorf("recipe of the checkpoint: %w", err)
	}
	after, err := flatten(now)
	if err != nil {
		return nil, fmt.Errorf("recipe of this run: %w", err)
	}
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	var out []Change
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if before[k] != after[k] {
			out = append(out, Change{k, before[k], after[k]})
		}
	}
	return out, nil
}

// flatten parses TOML into dotted keys and the text of their values.
func flatten(text string) (map[string]string, error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		return nil, err
	}
	out := map[string]string{}
	walk(out, "", tree)
	return out, nil
}

func walk(out map[string]string, key string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			walk(out, join(key, k), sub)
		}
	case []map[string]any:
		for i, sub := range v {
			walk(out, join(key, strconv.Itoa(i)), sub)
		}
	default:
		out[key] = valueText(v)
	}
}

func join(key, k string) string {
	if key == "" {
		return k
	}
	return key + "." + k
}

func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = valueText(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+" = "+valueText(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}
