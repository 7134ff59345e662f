package report

import (
	"math"
	"strconv"
	"strings"
)

// axis maps values to a share of the way along it, 0 to 1.
type axis struct {
	lo, hi float64
	ticks  []float64
}

// newAxis spans values from lo to hi, with about want ticks at 1, 2 or 5 times a power of ten; with toTicks it begins and
// ends at ticks. Values that are all alike lie in the middle, zeros at the
// foot.
func newAxis(lo, hi float64, want int, toTicks bool) axis {
	if lo > hi || math.IsInf(lo, 0) || math.IsInf(hi, 0) {
		lo, hi = 0, 1
	}
	switch span := math.Max(math.Abs(lo), math.Abs(hi)); {
	case span == 0:
		hi = 1
	case hi-lo <= 1e-9*span:
		lo, hi = lo-span/10, hi+span/10
	}
	gap := niceGap((hi - lo) / float64(want))
	if toTicks {
		lo, hi = math.Floor(lo/gap+1e-9)*gap, math.Ceil(hi/gap-1e-9)*gap
	}
	a := axis{lo: lo, hi: hi}
	first := math.Ceil(lo/gap - 1e-9)
	for i := 0; i <= 4*want; i++ {
		v := (first + float64(i)) * gap
		if v > hi+1e-9*gap {
			break
		}
		a.ticks = append(a.ticks, v)
	}
	return a
}

// niceGap is the next of 1, 2 and 5 times a power of ten.
func niceGap(raw float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// at is where v lies, 0 to 1.
func (a axis) at(v float64) float64 {
	at := v/(a.hi-a.lo) - a.lo/(a.hi-a.lo)
	return min(1, max(0, at))
}

// label writes a tick in few characters: 0.25, 1500, 12k, 2e-05.
func label(v float64) string {
	size := math.Abs(v)
	switch {
	case size == 0:
		return "0"
	case size < 1e-3 || size >= 1e9:
		mantissa, power, _ := strings.Cut(strconv.FormatFloat(v, 'e', 2, 64), "e")
		return strings.TrimRight(strings.TrimRight(mantissa, "0"), ".") + "e" + power
	case size >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case size >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 5, 64)
}
