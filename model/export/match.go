package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// How PEFT's configuration names modules (peft/tuners/tuners_utils.py, peft/utils/other.py, 0.21):
// a list matches a module by its whole name or a dotted suffix of it; a string is a regular expression
// for the whole name; the keys of rank_pattern and alpha_pattern are regular expressions for a dotted
// suffix. Python's look-around and back-references have no equivalent here (RE2) and are refused.

// matcher is target_modules or exclude_modules.
type matcher struct {
	suffixes map[string]bool
	whole    *regexp.Regexp // used when suffixes is nil; nil too for "all-linear"
}

func (m *matcher) match(name string) bool {
	if m.suffixes == nil {
		return m.whole == nil || m.whole.MatchString(name)
	}
	for rest, more := name, true; more; {
		if m.suffixes[rest] {
			return true
		}
		_, rest, more = strings.Cut(rest, ".")
	}
	return false
}

// exact says that a list holds the whole name.
func (m *matcher) exact(name string) bool { return m.suffixes[name] }

// matcher decodes target_modules or exclude_modules; nil when the field is off.
func (p *fieldParser) matcher(name string) *matcher {
	if p.off(name) {
		return nil
	}
	var list []string
	if err := json.Unmarshal(p.fields[name], &list); err == nil {
		m := &matcher{suffixes: make(map[string]bool, len(list))}
		for _, s := range list {
			m.suffixes[s] = true
		}
		return m
	}
	var expr string
	if err := json.Unmarshal(p.fields[name], &expr); err != nil {
		p.bad("%s is %s, want a list of names or a regular expression", name, abbreviate(p.fields[name]))
		return nil
	}
	if expr == "all-linear" && name == "target_modules" {
		return &matcher{}
	}
	re, err := p.compile(`^(?:` + expr + `)$`)
	if err != nil {
		p.bad("%s: %w", name, err)
		return nil
	}
	return &matcher{whole: re}
}

// patternEntry is one entry of rank_pattern or alpha_pattern.
type patternEntry struct {
	plain string         // key without meaning in a regular expression but dots; "" if re is used
	re    *regexp.Regexp // matches whole names
	value float64
}

// plainKey accepts keys that need no regular expression.
var plainKey = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func (p *fieldParser) patternEntry(key string, value float64) (patternEntry, error) {
	if plainKey.MatchString(key) {
		return patternEntry{plain: key, value: value}, nil
	}
	re, err := p.compile(`^(?:.*\.)?(?:` + key + `)$`)
	return patternEntry{re: re, value: value}, err
}

func (e *patternEntry) match(name string) bool {
	if e.plain == "" {
		return e.re.MatchString(name)
	}
	at := len(name) - len(e.plain)
	if at < 0 || at > 0 && name[at-1] != '.' {
		return false
	}
	for i := range len(e.plain) {
		if e.plain[i] != '.' && e.plain[i] != name[at+i] {
			return false
		}
	}
	return true
}

// valueFor returns the value of the first entry that matches, else byDefault.
func valueFor(entries []patternEntry, name string, byDefault float64) float64 {
	for i := range entries {
		if entries[i].match(name) {
			return entries[i].value
		}
	}
	return byDefault
}

// Nodes of all regular expressions of one configuration, repetitions multiplied out: a few bytes like
// "(x{900}){900}" would otherwise cost hundreds of megabytes to compile.
const maxRegexpNodes = 1 << 16

// compile compiles a regular expression within the configuration's allowance.
func (p *fieldParser) compile(expr string) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("this regular expression is not supported, list the modules by name instead: %w", err)
	}
	if p.regexpNodes += nodes(tree); p.regexpNodes > maxRegexpNodes {
		return nil, errors.New("regular expression too large: list the modules by name instead")
	}
	return regexp.Compile(expr)
}

// nodes estimates the size of a compiled expression; it stops counting a little above the allowance.
func nodes(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n = min(n+nodes(sub), maxRegexpNodes+1)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), maxRegexpNodes+1)
	}
	return n
}

// layerSet is layers_to_transform with layers_pattern: the layers PEFT keeps of those that a list of
// target modules matches.
type layerSet struct {
	layers []int
	index  []*regexp.Regexp // the first that matches gives the layer as its last group
}

// anyLayer finds the first number that is a segment of its own.
var anyLayer = regexp.MustCompile(`^.*?\.[^.]*\.(\d+)\.`)

func (s *layerSet) match(name string) bool {
	for _, re := range s.index {
		if g := re.FindStringSubmatch(name); g != nil {
			layer, err := strconv.Atoi(g[len(g)-1])
			return err == nil && slices.Contains(s.layers, layer)
		}
	}
	return false
}

// layerSet decodes layers_to_transform and layers_pattern; nil when all layers are meant.
func (p *fieldParser) layerSet() *layerSet {
	if p.off("layers_to_transform") {
		return nil
	}
	s := &layerSet{}
	var one int
	if json.Unmarshal(p.fields["layers_to_transform"], &one) == nil {
		s.layers = []int{one}
	} else {
		p.get("layers_to_transform", &s.layers)
	}
	if p.off("layers_pattern") {
		s.index = []*regexp.Regexp{anyLayer}
		return s
	}
	var names []string
	var name string
	if json.Unmarshal(p.fields["layers_pattern"], &name) == nil {
		names = []string{name}
	} else {
		p.get("layers_pattern", &names)
	}
	for _, n := range names {
		re, err := p.compile(`^(?:|.*?\.)(?:` + n + `)\.(\d+)\.`)
		if err != nil {
			p.bad("layers_pattern: %w", err)
			continue
		}
		s.index = append(s.index, re)
	}
	return s
}
