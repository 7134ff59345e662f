package launcher

import (
	"fmt"
	"strconv"
	"strings"
)

// Streams says which of a rank's output streams something is done with: torchrun's Std values, 0 none, 1 stdout,
// 2 stderr, 3 both, for all local ranks or one by one ("0:1,1:3"; ranks not named get none).
type Streams struct {
	all   int
	local map[int]int
}

// ParseStreams reads the value of --redirects or --tee.
func ParseStreams(s string) (Streams, error) {
	bad := fmt.Errorf("%q: want 0, 1, 2 or 3 for all local ranks, or LOCAL_RANK:0-3 pairs with commas between", s)
	std := func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 3 {
			return 0, bad
		}
		return n, nil
	}
	if !strings.Contains(s, ":") {
		n, err := std(s)
		return Streams{all: n}, err
	}
	out := Streams{local: map[int]int{}}
	for _, pair := range strings.Split(s, ",") {
		a, b, _ := strings.Cut(pair, ":")
		rank, err := strconv.Atoi(a)
		if err != nil || rank < 0 {
			return Streams{}, bad
		}
		if out.local[rank], err = std(b); err != nil {
			return Streams{}, err
		}
	}
	return out, nil
}

// has tells whether stream (1 stdout, 2 stderr) of a local rank is meant.
func (s Streams) has(local, stream int) bool {
	if s.local != nil {
		return s.local[local]&stream != 0
	}
	return s.all&stream != 0
}

// ParseLocalRanks reads --local-ranks-filter: "" is all.
func ParseLocalRanks(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	var out []int
	for _, word := range strings.Split(s, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("--local-ranks-filter %q: want local ranks with commas between", s)
		}
		out = append(out, n)
	}
	return out, nil
}
