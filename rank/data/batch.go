package data

import "slices"

// Batch is one micro-batch of one rank, right-padded to a common length.
type Batch struct {
	Rows, Seq              int
	IDs, Positions, Labels []int32 // [Rows*Seq]
	Samples                []int   // data set indexes of the rows; rows beyond them only fill the batch
	Valid                  int     // supervised positions
}

// bucket is the length that rows of n tokens are padded to. Each distinct length costs a compilation of the block
// programs (kept on disk), and each padded position the work of a real one, so lengths are close together where samples
// are many and short: 8 up to 256, 4 more up to 512, 4 up to 1024, 12 up to 4096. For lengths spread as SQuAD's (median
// 165 tokens) that is 14 lengths and 9 % of padding at one row a micro-batch, where steps of 64 throughout would be 11
// and 15 %; at four rows 12 and 36 %, of which 30 % is the rows' own unevenness.
func bucket(n int) int {
	unit := 512
	switch {
	case n <= 256:
		unit = 32
	case n <= 512:
		unit = 64
	case n <= 1024:
		unit = 128
	case n <= 4096:
		unit = 256
	}
	return max(1, (n+unit-1)/unit) * unit
}

// pad makes a micro-batch of rows rows from samples; missing rows are filled with padding that trains nothing. limit is
// the length of the set's longest sample, beyond which no row is padded: a set of equal lengths needs no padding.
func (d *Dataset) pad(rows int, samples []int, padID int32, limit int) Batch {
	longest := 0
	for _, i := range samples {
		longest = max(longest, len(d.Samples[i].IDs))
	}
	b := Batch{Rows: rows, Seq: min(bucket(longest), max(1, limit)), Samples: samples}
	n := rows * b.Seq
	b.IDs, b.Positions, b.Labels = make([]int32, n), make([]int32, n), make([]int32, n)
	for at := range n {
		b.IDs[at], b.Positions[at], b.Labels[at] = padID, int32(at%b.Seq), Ignored
	}
	for r, i := range samples {
		s := d.Samples[i]
		copy(b.IDs[r*b.Seq:], s.IDs)
		copy(b.Labels[r*b.Seq:], s.Labels)
		b.Valid += s.Valid()
	}
	return b
}

// Batches lists the whole set in order, in batches of rows rows: for validation.
func (d *Dataset) Batches(rows int, padID int32) []Batch {
	var out []Batch
	limit := d.longest()
	for part := range slices.Chunk(order(0, 0, len(d.Samples), false), max(1, rows)) {
		out = append(out, d.pad(rows, part, padID, limit))
	}
	return out
}

// Largest is the micro-batch of rows rows that takes most memory: the longest samples.
func (d *Dataset) Largest(rows int) Batch {
	all := order(0, 0, len(d.Samples), false)
	slices.SortStableFunc(all, func(a, b int) int { return len(d.Samples[b].IDs) - len(d.Samples[a].IDs) })
	return d.pad(rows, all[:min(rows, len(all))], 0, d.longest())
}
