package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// clockApart is how far clocks may be apart before logs of several nodes mislead.
const clockApart = time.Second

// aspect is something that all nodes should have alike.
type aspect struct {
	check, fix string
	status     Status
	of         func(*Facts) string
}

func aspects(all []*Facts) []aspect {
	out := []aspect{
		{"device", "all nodes need the same kind: --device", Fail, func(f *Facts) string { return f.Device }},
		{"driver", "install one version of the driver on all nodes", Warn, func(f *Facts) string { return f.Driver }},
		{"GPUs", "give all nodes the same GPUs", Warn, kinds},
		{"MTU", "set one MTU on all nodes: large packets are lost otherwise", Warn, func(f *Facts) string {
			if i := f.chosen(); i != nil {
				return fmt.Sprint(i.MTU)
			}
			return "none"
		}},
		{"link speed", "look after the cable and the switch's port", Warn, func(f *Facts) string {
			if i := f.chosen(); i != nil && i.Mbit > 0 {
				return fmt.Sprint(i.Mbit, " Mbit/s")
			}
			return "not known"
		}},
	}
	var names []string
	for _, f := range all {
		for _, p := range f.Programs {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
				out = append(out, aspect{p.Name, "install the same on all nodes", Fail, func(f *Facts) string { return identity(f, p.Name) }})
			}
		}
	}
	return out
}

// kinds says which GPUs a node has: "8 x NVIDIA H200".
func kinds(f *Facts) string {
	counts := map[string]int{}
	var names []string
	for _, g := range f.GPUs {
		if counts[g.Name]++; counts[g.Name] == 1 {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = fmt.Sprintf("%d x %s", counts[name], name)
	}
	if len(names) == 0 {
		return "none"
	}
	return list(names)
}

// identity is what must be equal of a program: its contents; its version is for people.
func identity(f *Facts, name string) string {
	for _, p := range f.Programs {
		if p.Name == name && p.Err == "" {
			return strings.TrimSpace(p.Version + " (sha256 " + p.SHA256[:min(12, len(p.SHA256))] + ")")
		}
	}
	return "none"
}

// Compare names the nodes that differ from most of the others.
func Compare(all []*Facts) []Finding {
	var out []Finding
	for _, a := range aspects(all) {
		common := most(all, a.of)
		alike := true
		for _, f := range all {
			if got := a.of(f); got != common {
				alike = false
				out = append(out, Finding{a.status, f.Node, a.check, fmt.Sprintf("%s, where most nodes have %s", got, common), a.fix})
			}
		}
		if alike {
			out = append(out, Finding{Status: OK, Check: a.check, Found: fmt.Sprintf("the same on all %d nodes: %s", len(all), common)})
		}
	}
	return append(out, clocks(all)...)
}

// most is the commonest value; of several as common, the first node's.
func most(all []*Facts, of func(*Facts) string) string {
	counts := map[string]int{}
	best := ""
	for _, f := range all {
		counts[of(f)]++
	}
	for _, f := range all {
		if v := of(f); counts[v] > counts[best] {
			best = v
		}
	}
	return best
}

// clocks compares the nodes' clocks, each measured against the shared folder's, with the middle one.
func clocks(all []*Facts) []Finding {
	var ahead []time.Duration
	for _, f := range all {
		if f.Folder != nil && f.Folder.Err == "" {
			ahead = append(ahead, f.Folder.Ahead)
		}
	}
	if len(ahead) < 2 {
		return nil
	}
	slices.Sort(ahead)
	middle := ahead[(len(ahead)-1)/2]
	var out []Finding
	for _, f := range all {
		if f.Folder == nil || f.Folder.Err != "" {
			continue
		}
		if apart := f.Folder.Ahead - middle; apart.Abs() > clockApart {
			way := "ahead of"
			if apart < 0 {
				way = "behind"
			}
			out = append(out, Finding{Warn, f.Node, "clock", fmt.Sprintf("%s %s most nodes", apart.Abs().Round(100*time.Millisecond), way), "let chrony or another NTP client set it"})
		}
	}
	if out == nil {
		out = append(out, Finding{Status: OK, Check: "clock", Found: fmt.Sprintf("%s apart at most", (ahead[len(ahead)-1] - ahead[0]).Round(time.Millisecond))})
	}
	return out
}
