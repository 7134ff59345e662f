package data

import "slices"

// Batch is one micro-batch of one rank, right-padded to a common length.
type Batch struct {
	Rows, Seq              int
	IDs, Positions, Labels []int32 // [Rows*Seq]; positions begin at 0 in each sample
	Starts                 []int32 // [Rows*Seq]: where in its row each token's sample begins; nil unless rows are packed
	Samples                []int   // data set indexes, row by row; what is beyond them only fills the batch
	Valid                  int     // supervised positions

	places [][2]int // of packed rows: the tokens [lo, hi) that each of Samples has
}

// Keys gives dropout keys as the model takes them: one per row, or, of packed rows, one per token. What only fills the
// batch has that of sample -1.
func (b Batch) Keys(of func(sample int) uint32) []uint32 {
	filler := of(-1)
	if b.Starts == nil {
		out := slices.Repeat([]uint32{filler}, b.Rows)
		for i, sample := range b.Samples {
			out[i] = of(sample)
		}
		return out
	}
	out := slices.Repeat([]uint32{filler}, b.Rows*b.Seq)
	for i, at := range b.places {
		key := of(b.Samples[i])
		for t := at[0]; t < at[1]; t++ {
			out[t] = key
		}
	}
	return out
}

// empty is a batch of padding.
func empty(rows, seq int, padID int32) Batch {
	n := rows * seq
	b := Batch{Rows: rows, Seq: seq, IDs: make([]int32, n), Positions: make([]int32, n), Labels: make([]int32, n)}
	for at := range n {
		b.IDs[at], b.Positions[at], b.Labels[at] = padID, int32(at%seq), Ignored
	}
	return b
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
func (d *Dataset) pad(rows int, samples []int, padID int32, limit int) (Batch, error) {
	longest := 0
	for _, i := range samples {
		longest = max(longest, d.length(i))
	}
	b := empty(rows, min(bucket(longest), max(1, limit)), padID)
	b.Samples = samples
	for r, i := range samples {
		if err := d.tokens.fill(i, b.IDs[r*b.Seq:], b.Labels[r*b.Seq:]); err != nil {
			return b, err
		}
		b.Valid += d.valid(i)
	}
	return b, nil
}

// Batches is the whole set in order, in batches of some rows: for validation.
type Batches struct {
	d     *Dataset
	rows  int
	padID int32
}

// Batches deals the set out in batches of rows rows.
func (d *Dataset) Batches(rows int, padID int32) Batches { return Batches{d, max(1, rows), padID} }

// Len is the number of batches.
func (b Batches) Len() int { return (b.d.Len() + b.rows - 1) / b.rows }

// At makes batch i.
func (b Batches) At(i int) (Batch, error) {
	var samples []int
	for s := i * b.rows; s < min((i+1)*b.rows, b.d.Len()); s++ {
		samples = append(samples, s)
	}
	return b.d.pad(b.rows, samples, b.padID, b.d.Stats().Longest)
}

// batch makes a micro-batch of the rows [lo, hi) of a deck.
func (l *dealer) batch(rows deck, lo, hi int) (Batch, error) {
	if l.o.Pack > 0 {
		return l.d.packed(rows, lo, hi, l.o)
	}
	return l.d.pad(l.o.MicroBatch, rows.samples[lo:hi:hi], l.o.Pad, l.longest)
}

// packed makes a micro-batch of the rows [lo, hi) of a deck. Rows are always as long as they may be: the few that a
// window leaves part empty are not worth programs of their own. Each token of padding is a document of its own, so that
// the longest document, by which attention is cut, is a sample.
func (d *Dataset) packed(rows deck, lo, hi int, o LoaderOptions) (Batch, error) {
	b := empty(o.MicroBatch, o.Pack, o.Pad)
	b.Starts = make([]int32, len(b.IDs))
	for t := range b.Starts {
		b.document(t, t+1, int32(t%b.Seq))
	}
	for r := lo; r < hi; r++ {
		row := (r - lo) * b.Seq
		at := row
		for _, i := range rows.row(r) {
			end := at + d.length(i)
			if err := d.tokens.fill(i, b.IDs[at:], b.Labels[at:]); err != nil {
				return b, err
			}
			b.document(at, end, int32(at-row))
			b.Samples, b.places = append(b.Samples, i), append(b.places, [2]int{at, end})
			b.Valid += d.valid(i)
			at = end
		}
	}
	return b, nil
}

// document makes the tokens [lo, hi) one that starts at place start of its row.
func (b *Batch) document(lo, hi int, start int32) {
	for t := lo; t < hi; t++ {
		b.Starts[t], b.Positions[t] = start, int32(t-lo)
	}
}

// Largest is the micro-batch of a run that takes most memory: the longest samples, or the packed rows of the first
// epoch in which most tokens are trained on.
func (d *Dataset) Largest(o LoaderOptions) (Batch, error) {
	l, err := d.dealer(o)
	if err != nil {
		return Batch{}, err
	}
	if o.Pack == 0 {
		all := d.lengths()
		return d.pad(o.MicroBatch, all[:min(o.MicroBatch, len(all))], o.Pad, l.longest)
	}
	rows := l.rows(0)
	end := func(lo int) int { return min(lo+o.MicroBatch, rows.rows()) }
	at, most := 0, -1
	for lo := 0; lo < rows.rows(); lo += o.MicroBatch {
		valid := 0
		for _, i := range rows.samples[rows.before(lo):rows.before(end(lo))] {
			valid += d.valid(i)
		}
		if valid > most {
			at, most = lo, valid
		}
	}
	return d.packed(rows, at, end(at), o)
}

// lengths lists samples from the longest to the shortest, those of one length in order.
func (d *Dataset) lengths() []int {
	all := order(0, 0, d.Len(), false)
	slices.SortStableFunc(all, func(a, b int) int { return d.length(b) - d.length(a) })
	return all
}
