package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
)

// gpt2Pattern is what ByteLevel splits by.
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// splitters are the pre-tokenizers of tokenizer.json.
var splitters = kinds[splitter]{
	"Split": parseSplit, "ByteLevel": parseByteLevel, "Digits": parseDigits, "Metaspace": parseMetaspace,
	"Whitespace":      func(json.RawMessage) ([]splitter, error) { return isolate(`\w+|[^\w\s]+`) },
	"WhitespaceSplit": fixed[splitter](cutter{find: runes(unicode.IsSpace), behavior: "Removed"}),
	"Punctuation":     fixed[splitter](cutter{find: runes(isPunctuation), behavior: "Isolated"}),
}

func parseSplitters(raw json.RawMessage) ([]splitter, error) {
	return splitters.parse(raw, "pre_tokenizer", "pretokenizers")
}

// isolate cuts around the matches of a regular expression.
func isolate(expr string) ([]splitter, error) {
	find, err := regexFinder(expr)
	return []splitter{cutter{find: find, behavior: "Isolated"}}, err
}

func parseSplit(raw json.RawMessage) ([]splitter, error) {
	var c struct {
		Pattern  pattern `json:"pattern"`
		Behavior string  `json:"behavior"`
		Invert   bool    `json:"invert"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}, c.Behavior) {
		return nil, fmt.Errorf("behavior %q is not one that gorun knows", c.Behavior)
	}
	find, err := c.Pattern.finder()
	return []splitter{cutter{find, c.Behavior, c.Invert}}, err
}

func parseByteLevel(raw json.RawMessage) ([]splitter, error) {
	var c struct {
		AddPrefixSpace *bool `json:"add_prefix_space"`
		UseRegex       *bool `json:"use_regex"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	out := []splitter{byteLevel{c.AddPrefixSpace == nil || *c.AddPrefixSpace}}
	if c.UseRegex != nil && !*c.UseRegex {
		return out, nil
	}
	words, err := isolate(gpt2Pattern)
	return append(out, words...), err
}

func parseDigits(raw json.RawMessage) ([]splitter, error) {
	var c struct {
		Individual bool `json:"individual_digits"`
	}
	err := json.Unmarshal(raw, &c)
	behavior := "Contiguous"
	if c.Individual {
		behavior = "Isolated"
	}
	return []splitter{cutter{find: runes(unicode.IsNumber), behavior: behavior}}, err
}

func parseMetaspace(raw json.RawMessage) ([]splitter, error) {
	var c struct {
		Replacement    string `json:"replacement"`
		PrependScheme  string `json:"prepend_scheme"`
		AddPrefixSpace *bool  `json:"add_prefix_space"`
		Split          *bool  `json:"split"`
	}
	err := json.Unmarshal(raw, &c)
	m := metaspace{mark: c.Replacement, scheme: c.PrependScheme, split: c.Split == nil || *c.Split}
	if m.mark == "" {
		m.mark = spmSpace
	}
	if m.scheme == "" {
		m.scheme = "always"
		if c.AddPrefixSpace != nil && !*c.AddPrefixSpace {
			m.scheme = "never"
		}
	}
	return []splitter{m}, err
}
