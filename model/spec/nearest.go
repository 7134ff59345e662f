package spec

import (
	"fmt"
	"slices"
	"strings"
)

// hint says what a pattern without a match may have meant.
func hint(d *Decoder, modules []Linear, pattern string) string {
	leaf := strings.TrimLeft(pattern[strings.LastIndexByte(pattern, '.')+1:], "*")
	switch {
	case d.TiedHead && leaf == "lm_head":
		return "the head is tied to the embedding and is no module of its own"
	case d.FusedQKV && slices.Contains([]string{"q_proj", "k_proj", "v_proj"}, leaf):
		return "this checkpoint holds q, k and v fused: qkv_proj"
	case d.FusedMLP && slices.Contains([]string{"gate_proj", "up_proj"}, leaf):
		return "this checkpoint holds gate and up fused: gate_up_proj"
	}
	if strings.LastIndexByte(pattern, '*') > 0 {
		undot := func(s string) string { return strings.ReplaceAll(s, ".", "/") }
		for _, m := range modules {
			if matchModule(undot(pattern), undot(m.Name)) {
				return fmt.Sprintf("a \"*\" after the start does not cross a dot, so %s is not matched", m.Name)
			}
		}
	}
	return "nearest: " + strings.Join(nearest(modules, pattern), ", ")
}

// nearest gives up to three module names closest to the pattern. A pattern without a path is compared
// with the last parts of names alone, and the answer is then such last parts.
func nearest(modules []Linear, pattern string) []string {
	const most = 3
	type candidate struct {
		name     string
		distance int
	}
	bare := !strings.Contains(pattern, ".")
	pattern = strings.TrimLeft(pattern, "*.")
	seen := make(map[string]bool)
	var list []candidate
	for _, m := range modules {
		leaf := m.Name[strings.LastIndexByte(m.Name, '.')+1:]
		if bare {
			if !seen[leaf] {
				seen[leaf] = true
				list = append(list, candidate{leaf, editDistance(pattern, leaf)})
			}
			continue
		}
		best := editDistance(pattern, m.Name)
		for rest := m.Name; ; {
			_, after, ok := strings.Cut(rest, ".")
			if !ok {
				break
			}
			rest = after
			best = min(best, editDistance(pattern, rest))
		}
		list = append(list, candidate{m.Name, best})
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.distance - b.distance })
	var names []string
	for _, c := range list[:min(most, len(list))] {
		names = append(names, c.name)
	}
	if bare && len(modules) > 0 {
		return append(names, fmt.Sprintf("as in %s", modules[0].Name))
	}
	return names
}

// editDistance is Levenshtein's; a "*" in a matches a letter for free.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] || a[i] == '*' {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
