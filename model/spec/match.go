package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxPattern bounds a module pattern; the longest module name has about 40 characters.
const maxPattern = 256

// nemoNames are the guide's names for the projections; which of them exist depends on fusing.
var nemoNames = map[string][]string{
	"linear_qkv":  {"q_proj", "k_proj", "v_proj", "qkv_proj"},
	"linear_proj": {"o_proj"},
	"linear_fc1":  {"gate_proj", "up_proj", "gate_up_proj", "w1", "w3"},
	"linear_fc2":  {"down_proj", "w2"},
}

// MatchLinears chooses the linears that get an adapter. With all set, target is not looked at and every
// linear but lm_head is chosen (PEFT's "all-linear"); otherwise those that a target pattern matches.
// Linears that an exclude pattern matches are then left out. A pattern is
//   - a plain name, "q_proj" or "self_attn.q_proj": the module's name ends with it at a dot, as in PEFT;
//   - a glob over the whole dotted name: "*" stands for any characters but a dot, except that a "*" at
//     the very start stands for any prefix, dots included ("*_proj", "*.layers.1.*.q_proj");
//   - either with linear_qkv, linear_proj, linear_fc1 or linear_fc2 as the last part.
//
// A tied lm_head is no linear of its own and matches nothing. Every pattern, exclude ones too, must
// match something: those that do not are all reported with the nearest module names. The result is in
// block order, lm_head last.
func MatchLinears(d *Decoder, target, exclude []string, all bool) ([]Linear, error) {
	var modules []Linear
	for layer := range d.Layers {
		modules = append(modules, d.Linears(layer)...)
	}
	if !d.TiedHead {
		modules = append(modules, d.Head())
	}
	var faults []error
	chosen := make([]bool, len(modules))
	if all {
		for i, m := range modules {
			chosen[i] = m.Layer >= 0
		}
	} else {
		if len(target) == 0 {
			faults = append(faults, errors.New("target_modules: is empty; name modules (\"*_proj\") or set match_all_linear"))
		}
		faults = append(faults, mark(d, modules, target, "target_modules", func(i int) { chosen[i] = true })...)
	}
	faults = append(faults, mark(d, modules, exclude, "exclude_modules", func(i int) { chosen[i] = false })...)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	var linears []Linear
	for i, m := range modules {
		if chosen[i] {
			linears = append(linears, m)
		}
	}
	if len(linears) == 0 {
		return nil, errors.New("exclude_modules: leaves no module to adapt")
	}
	return linears, nil
}

// mark calls set for every module that a pattern matches, and reports the patterns that match none.
func mark(d *Decoder, modules []Linear, patterns []string, field string, set func(int)) []error {
	var faults []error
	for _, pattern := range patterns {
		if pattern == "" || len(pattern) > maxPattern {
			faults = append(faults, fmt.Errorf("%s: a pattern must have 1 to %d characters, %.20q has %d", field, maxPattern, pattern, len(pattern)))
			continue
		}
		found := false
		spellings := expandNeMo(pattern)
		for i, m := range modules {
			if slices.ContainsFunc(spellings, func(p string) bool { return matchModule(p, m.Name) }) {
				found = true
				set(i)
			}
		}
		if !found {
			faults = append(faults, fmt.Errorf("%s: %q matches no module; %s", field, pattern, hint(d, modules, pattern)))
		}
	}
	return faults
}

// expandNeMo replaces one of NeMo's names at the end of a pattern by the names of the checkpoint.
func expandNeMo(pattern string) []string {
	cut := strings.LastIndexByte(pattern, '.') + 1
	if strings.HasPrefix(pattern[cut:], "*") {
		cut++
	}
	names, ok := nemoNames[pattern[cut:]]
	if !ok {
		return []string{pattern}
	}
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = pattern[:cut] + name
		if strings.HasSuffix(pattern[:cut], "*") {
			list[i] = pattern[:cut] + "." + name // so that "*up_proj" does not reach gate_up_proj
		}
	}
	return list
}

// matchModule applies one pattern to one module name.
func matchModule(pattern, name string) bool {
	if !strings.Contains(pattern, "*") {
		return name == pattern || strings.HasSuffix(name, "."+pattern)
	}
	rest, anyPrefix := strings.CutPrefix(pattern, "*")
	if !anyPrefix {
		return glob(pattern, name)
	}
	for i := range len(name) + 1 {
		if glob(rest, name[i:]) {
			return true
		}
	}
	return false
}

// glob matches the whole of s; "*" stands for any characters but a dot. It backtracks only to the
// last star of the segment, so the work is bounded by len(pattern) * len(s).
func glob(pattern, s string) bool {
	p, i, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0 && s[from] != '.':
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
