package tokenizer

import (
	"encoding/json"
	"fmt"
)

// kinds are the components of one sort that tokenizer.json may name, by the word in their "type": each reads its own keys
// and gives the parts that do what it says, in order.
type kinds[T any] map[string]func(raw json.RawMessage) ([]T, error)

// parse reads a component, or a Sequence of them, in the order of their work. sort is tokenizer.json's key for the sort,
// and list the key that a Sequence has them under. No component at all has no parts.
func (k kinds[T]) parse(raw json.RawMessage, sort, list string) ([]T, error) {
	if isNull(raw) {
		return nil, nil
	}
	var c struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", sort, err)
	}
	if c.Type == "Sequence" {
		return k.sequence(raw, sort, list)
	}
	read, ok := k[c.Type]
	if !ok {
		return nil, fmt.Errorf("%s %q is not one that gorun knows", sort, c.Type)
	}
	parts, err := read(raw)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", sort, c.Type, err)
	}
	return parts, nil
}

// sequence reads the components of a Sequence.
func (k kinds[T]) sequence(raw json.RawMessage, sort, list string) ([]T, error) {
	var of map[string]json.RawMessage
	var members []json.RawMessage
	err := json.Unmarshal(raw, &of)
	if err == nil && !isNull(of[list]) {
		err = json.Unmarshal(of[list], &members)
	}
	if err != nil {
		return nil, fmt.Errorf("%s Sequence: %w", sort, err)
	}
	var out []T
	for _, m := range members {
		parts, err := k.parse(m, sort, list)
		if err != nil {
			return nil, err
		}
		out = append(out, parts...)
	}
	return out, nil
}

// fixed is a kind without keys.
func fixed[T any](part T) func(json.RawMessage) ([]T, error) {
	return func(json.RawMessage) ([]T, error) { return []T{part}, nil }
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
