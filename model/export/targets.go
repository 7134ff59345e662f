package export

import (
	"maps"
	"slices"
	"strings"
)

// leaf returns the last segment of a dotted name.
func leaf(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// targets returns target_modules for the adapted names: sorted, without duplicates, never a wildcard.
// The last segment stands for all linears that end in it, which is right only where each of them is
// adapted; other names are given in full.
func targets(adapted, linears []string) []string {
	isAdapted := make(map[string]bool, len(adapted))
	for _, name := range adapted {
		isAdapted[name] = true
	}
	whole := map[string]bool{} // leaf -> every linear so named is adapted
	for _, name := range linears {
		if l := leaf(name); isAdapted[name] {
			if _, seen := whole[l]; !seen {
				whole[l] = true
			}
		} else {
			whole[l] = false
		}
	}
	out := map[string]bool{}
	for _, name := range adapted {
		if l := leaf(name); whole[l] {
			out[l] = true
		} else {
			out[name] = true
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// pattern returns PEFT's rank_pattern or alpha_pattern: the modules whose value differs from the
// default. All modules of one last segment with the same value share an entry; PEFT takes the first
// entry that matches, and no two entries made here match the same module.
func pattern[V comparable](a *Adapter, byDefault V, value func(*Module) V) map[string]any {
	shared := map[string]V{}
	mixed := map[string]bool{}
	for i := range a.Modules {
		m := &a.Modules[i]
		l, v := leaf(m.Name), value(m)
		if old, seen := shared[l]; seen && old != v {
			mixed[l] = true
		}
		shared[l] = v
	}
	out := map[string]any{}
	for i := range a.Modules {
		m := &a.Modules[i]
		l, v := leaf(m.Name), value(m)
		switch {
		case v == byDefault:
		case mixed[l]:
			out[m.Name] = v
		default:
			out[l] = v
		}
	}
	return out
}
