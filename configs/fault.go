package configs

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"strings"
)

// Fault is one thing wrong with a recipe. Load and Validate return several, joined.
type Fault struct {
	Where   string // "recipe.toml:12" or "--set optimizer.lr=x"; empty if only the field is known
	Field   string // dotted key, such as optimizer.lr; empty for faults of syntax
	Problem string // what was given, what is wrong with it, and the fix
	line    int    // for the order of messages; 0 = not of the file
	cause   error
}

// Error gives the fault in one line.
func (f *Fault) Error() string {
	var parts []string
	for _, p := range []string{f.Where, f.Field, f.Problem} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the parser's or the system's own error, if there was one.
func (f *Fault) Unwrap() error { return f.cause }

// join makes one error of the faults, or nil of none: those of the file in its order, then the others.
func join(faults []*Fault) error {
	order := func(f *Fault) int {
		if f.line == 0 {
			return math.MaxInt
		}
		return f.line
	}
	slices.SortStableFunc(faults, func(a, b *Fault) int { return cmp.Compare(order(a), order(b)) })
	list := make([]error, len(faults))
	for i, f := range faults {
		list[i] = f
	}
	return errors.Join(list...)
}
