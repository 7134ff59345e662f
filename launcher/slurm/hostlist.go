package slurm

import (
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a list of nodes: far above any cluster, far below what would hurt.
const (
	maxNodes  = 1 << 16
	maxName   = 255 // bytes, as in DNS
	maxDigits = 18  // of a number in a range: it fits a uint64
)

// ParseHostlist expands Slurm's short form of node names, in its order: "n[01-03,7],gpu[0-1]-ib,login". Brackets hold
// numbers and ranges; a range counts up, and its numbers are as wide as its first one is written. Several brackets in a
// name give all combinations, the last one fastest. (Source: Slurm's hostlist functions, as scontrol show hostnames
// prints them.)
func ParseHostlist(list string) ([]string, error) {
	var out []string
	for rest := list; ; {
		word, after, more, err := cutName(rest)
		if err != nil {
			return nil, fmt.Errorf("list of nodes %q: %w", short(list), err)
		}
		if out, err = appendNames(out, word); err != nil {
			return nil, fmt.Errorf("list of nodes %q: %w", short(list), err)
		}
		if !more {
			return out, nil
		}
		rest = after
	}
}

// cutName cuts a list at the first comma that is not inside brackets.
func cutName(list string) (word, after string, more bool, err error) {
	inside := false
	for i := range len(list) {
		switch c := list[i]; {
		case c == '[' && inside, c == ']' && !inside:
			return "", "", false, fmt.Errorf("unexpected %q at byte %d", c, i)
		case c == '[' || c == ']':
			inside = !inside
		case c == ',' && !inside:
			return list[:i], list[i+1:], true, nil
		}
	}
	if inside {
		return "", "", false, fmt.Errorf("a bracket is not closed")
	}
	return list, "", false, nil
}

// appendNames adds the names that a word with any number of brackets stands for.
func appendNames(out []string, word string) ([]string, error) {
	names := []string{""}
	for rest := word; rest != ""; {
		text, after, bracket := strings.Cut(rest, "[")
		if bad := strings.IndexFunc(text, notInName); bad >= 0 {
			return nil, fmt.Errorf("%q can't be in the name of a node", text[bad])
		}
		parts := []string{""}
		if bracket {
			var ranges string
			ranges, after, _ = strings.Cut(after, "]") // cutName has seen it
			var err error
			if parts, err = expand(ranges); err != nil {
				return nil, err
			}
		}
		if len(names)*len(parts)+len(out) > maxNodes {
			return nil, fmt.Errorf("more than %d nodes", maxNodes)
		}
		longer := make([]string, 0, len(names)*len(parts))
		for _, name := range names {
			for _, part := range parts {
				if len(name)+len(text)+len(part) > maxName {
					return nil, fmt.Errorf("a name of more than %d bytes", maxName)
				}
				longer = append(longer, name+text+part)
			}
		}
		names, rest = longer, after
	}
	if names[0] == "" {
		return nil, fmt.Errorf("an empty name")
	}
	return append(out, names...), nil
}

func notInName(r rune) bool {
	alnum := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	return !alnum && r != '-' && r != '_' && r != '.'
}

// expand returns the numbers of what stands between brackets.
func expand(ranges string) ([]string, error) {
	var out []string
	for r := range strings.SplitSeq(ranges, ",") {
		first, last, isRange := strings.Cut(r, "-")
		if !isRange {
			last = first
		}
		lo, err := number(first)
		if err != nil {
			return nil, err
		}
		hi, err := number(last)
		if err != nil {
			return nil, err
		}
		if lo > hi {
			return nil, fmt.Errorf("the range %s counts down", r)
		}
		if hi-lo >= uint64(maxNodes-len(out)) {
			return nil, fmt.Errorf("more than %d nodes", maxNodes)
		}
		for n := lo; n <= hi; n++ {
			out = append(out, fmt.Sprintf("%0*d", len(first), n))
		}
	}
	return out, nil
}

func number(digits string) (uint64, error) {
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(digits) > maxDigits {
		return 0, fmt.Errorf("%q is no number of a node", short(digits))
	}
	return n, nil
}

// short is as much of a text from outside as an error shows.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
