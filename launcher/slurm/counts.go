package slurm

import (
	"fmt"
	"strconv"
	"strings"
)

// parseCounts expands Slurm's short form of one number a node: "2(x3),1" is 2, 2, 2, 1.
func parseCounts(text string, nodes int) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		count, repeat, repeated := strings.Cut(part, "(x")
		times := 1
		var err error
		if repeated {
			digits, closed := strings.CutSuffix(repeat, ")")
			if times, err = strconv.Atoi(digits); err != nil || !closed || times < 1 || times > nodes {
				return nil, fmt.Errorf("%q: %q is no repetition over %d nodes", short(text), short(part), nodes)
			}
		}
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q: %q is no count", short(text), short(count))
		}
		if len(out)+times > nodes {
			return nil, fmt.Errorf("%q has counts for more than %d nodes", short(text), nodes)
		}
		for range times {
			out = append(out, n)
		}
	}
	if len(out) != nodes {
		return nil, fmt.Errorf("%q has counts for %d nodes, and there are %d", short(text), len(out), nodes)
	}
	return out, nil
}
