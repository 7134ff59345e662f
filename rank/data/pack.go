package data

import "slices"

// windowRows is how many rows' worth of tokens are packed together. Sorting whole windows lets long samples find short
// ones to lie with, so only the last row of a window stays part empty; cutting the epoch into windows keeps samples near
// where the order put them, and the work linear in their number.
const windowRows = 128

// deck is the rows of an epoch, in order: row r holds samples[ends[r-1]:ends[r]].
type deck struct {
	samples []int // indexes in the data set
	ends    []int // nil = one sample per row
}

// rows is the number of rows.
func (k deck) rows() int {
	if k.ends == nil {
		return len(k.samples)
	}
	return len(k.ends)
}

// before is the number of samples in the first n rows.
func (k deck) before(n int) int {
	if k.ends == nil || n == 0 {
		return n
	}
	return k.ends[n-1]
}

// row is the samples of row r.
func (k deck) row(r int) []int {
	lo, hi := k.before(r), k.before(r+1)
	return k.samples[lo:hi:hi]
}

// rowAt is the row whose first sample is the epoch's n-th; ok is false where that sample is inside a row.
func (k deck) rowAt(n int) (row int, ok bool) {
	if k.ends == nil || n == 0 {
		return n, true
	}
	i, found := slices.BinarySearch(k.ends, n)
	return i + 1, found
}

// pack puts the samples of a sequence into rows of at most size tokens, none split: in windows of the sequence, the
// longest first, each into the first row with room for it. The rows of a window are in the order of their earliest
// sample, and a row's samples in that of the sequence, so the result is a function of sequence and lengths alone. Every
// sample fits a row.
func (d *Dataset) pack(sequence []int, size int) deck {
	out := deck{samples: make([]int, 0, len(sequence)), ends: []int{}}
	for lo := 0; lo < len(sequence); {
		hi, tokens := lo, 0
		for hi < len(sequence) && tokens < windowRows*size {
			tokens += d.length(sequence[hi])
			hi++
		}
		for _, row := range d.firstFit(sequence[lo:hi], size) {
			for _, place := range row {
				out.samples = append(out.samples, sequence[lo+place])
			}
			out.ends = append(out.ends, len(out.samples))
		}
		lo = hi
	}
	return out
}

// firstFit packs a window by first fit decreasing; rows hold places in the window.
func (d *Dataset) firstFit(window []int, size int) [][]int {
	length := func(place int) int { return d.length(window[place]) }
	places := order(0, 0, len(window), false)
	slices.SortStableFunc(places, func(a, b int) int { return length(b) - length(a) })
	var rows [][]int
	var room []int
	for _, p := range places {
		n := length(p)
		r := slices.IndexFunc(room, func(free int) bool { return free >= n })
		if r < 0 {
			r = len(rows)
			rows, room = append(rows, nil), append(room, size)
		}
		rows[r], room[r] = append(rows[r], p), room[r]-n
	}
	for _, row := range rows {
		slices.Sort(row)
	}
	slices.SortFunc(rows, func(a, b []int) int { return a[0] - b[0] })
	return rows
}

// Packing is how the samples of a run's first epoch lie in packed rows.
type Packing struct {
	Rows, Size int // rows, and the tokens that each could hold
	Tokens     int // that they hold
}

// Full is the share of the rows' places that hold tokens.
func (p Packing) Full() float64 { return float64(p.Tokens) / float64(max(1, p.Rows*p.Size)) }

// Packing packs the first epoch of a run.
func (d *Dataset) Packing(o LoaderOptions) (Packing, error) {
	l, err := d.dealer(o)
	if err != nil {
		return Packing{}, err
	}
	return Packing{Rows: l.rows(0).rows(), Size: o.Pack, Tokens: d.Stats().Tokens}, nil
}
