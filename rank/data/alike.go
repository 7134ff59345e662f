package data

import (
	"fmt"
	"strings"
)

// shownPlaces is how many places of a fault are told beside the first.
const shownPlaces = 4

// alike makes one of the faults that differ in their place alone: where one record has a fault, often all have. Faults
// are "place: what is wrong"; the first of each kind stays, with how many there are beside it, and where.
func alike(faults []error) []error {
	type kind struct {
		first error
		more  []string // places
	}
	kinds := map[string]*kind{}
	var order []*kind
	for _, fault := range faults {
		place, what, _ := strings.Cut(fault.Error(), ": ")
		if k := kinds[what]; k != nil {
			k.more = append(k.more, place)
			continue
		}
		k := &kind{first: fault}
		kinds[what] = k
		order = append(order, k)
	}
	out := make([]error, len(order))
	for i, k := range order {
		out[i] = k.first
		if n := len(k.more); n > shownPlaces {
			out[i] = fmt.Errorf("%w (so are %d more: %s, ...)", k.first, n, strings.Join(k.more[:shownPlaces], ", "))
		} else if n > 0 {
			out[i] = fmt.Errorf("%w (so are %s)", k.first, strings.Join(k.more, ", "))
		}
	}
	return out
}
