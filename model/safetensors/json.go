package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// newDecoder checks that text is one valid JSON object in UTF-8 and returns a decoder at its start.
// encoding/json alone would let through what the reference refuses: bytes that are not UTF-8, names
// given twice, names that differ in case.
func newDecoder(text []byte) (*json.Decoder, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("is not valid UTF-8")
	}
	var whole json.RawMessage
	if err := json.Unmarshal(text, &whole); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("is not valid JSON, at byte %d: %w", syntax.Offset, err)
		}
		return nil, fmt.Errorf("is not valid JSON: %w", err)
	}
	if whole[0] != '{' { // leading space is stripped by then
		return nil, errors.New("is not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec, nil
}

// object calls field for each name of the object at dec, once per name; field must consume the value.
func object(dec *json.Decoder, field func(name string) error) error {
	if err := delim(dec, '{', "a JSON object"); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("read a name: %w", err)
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v is not a name", token)
		}
		if seen[name] {
			return fmt.Errorf("%q is given twice", name)
		}
		seen[name] = true
		if err := field(name); err != nil {
			return err
		}
	}
	return delim(dec, '}', "the end of the object")
}

// text reads a JSON string.
func text(dec *json.Decoder) (string, error) {
	token, err := dec.Token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("is %v, must be a string", token)
	}
	return s, nil
}

// sizes reads a JSON array of integers that fit a non-negative int.
func sizes(dec *json.Decoder) ([]int, error) {
	if err := delim(dec, '[', "a list of integers"); err != nil {
		return nil, err
	}
	list := []int{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("holds %v, must hold integers", token)
		}
		n, err := strconv.ParseUint(string(number), 10, strconv.IntSize-1)
		if err != nil {
			return nil, fmt.Errorf("holds %s, must hold integers from 0 to 2^%d-1", number, strconv.IntSize-1)
		}
		list = append(list, int(n))
	}
	return list, delim(dec, ']', "the end of the list")
}

// skipValue passes over any value.
func skipValue(dec *json.Decoder) error {
	var value json.RawMessage
	return dec.Decode(&value)
}

func delim(dec *json.Decoder, want json.Delim, what string) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("is %v, must be %s", token, what)
	}
	return nil
}
