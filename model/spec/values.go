package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// ValuesByPattern gives linears the values of the patterns that match them, by name; those that none matches are not in
// the result. Patterns are MatchLinears'. As they have no order, two of them may not give one linear different values.
// Every pattern must match one of the linears. All faults are reported at once, under the name of field.
func ValuesByPattern(linears []Linear, field string, patterns map[string]int) (map[string]int, error) {
	out, by := map[string]int{}, map[string]string{}
	var faults []error
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		if pattern == "" || len(pattern) > maxPattern {
			faults = append(faults, fmt.Errorf("%s: a pattern must have 1 to %d characters, %.20q has %d", field, maxPattern, pattern, len(pattern)))
			continue
		}
		found, value, spellings := false, patterns[pattern], expandNeMo(pattern)
		for _, l := range linears {
			if !slices.ContainsFunc(spellings, func(p string) bool { return matchModule(p, l.Name) }) {
				continue
			}
			found = true
			if old, given := out[l.Name]; given && old != value {
				faults = append(faults, fmt.Errorf("%s: %q gives %s %d, and %q gives it %d; let only one match it", field, by[l.Name], l.Name, old, pattern, value))
				break
			}
			out[l.Name], by[l.Name] = value, pattern
		}
		if !found {
			faults = append(faults, fmt.Errorf("%s: %q matches none of the %d linears that are adapted; drop it, or widen target_modules", field, pattern, len(linears)))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return out, nil
}
