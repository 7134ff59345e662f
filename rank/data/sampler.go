package data

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// LoaderOptions say how samples are dealt out. A row holds one sample, or as many as Pack lets it. A step takes
// MicroBatch * GradAcc * DPSize rows; the last of an epoch takes what is left, so that an epoch sees every sample once.
type LoaderOptions struct {
	Seed       int64
	Shuffle    bool
	Epochs     int
	MaxSteps   int // of the run; 0 = no limit
	MicroBatch int // rows
	GradAcc    int // micro-batches per step and rank
	DPRank     int
	DPSize     int
	Pack       int   // tokens of a packed row; 0 = one sample per row
	Pad        int32 // id of padding; it is never seen

	Start        int   // steps that the run has made, to resume
	StartSamples int64 // samples that all ranks have seen in them; 0 = whole steps of these options
}

// check tells whether a loader can be made of the options.
func (d *Dataset) check(o LoaderOptions) error {
	switch {
	case d.Len() < 1:
		return fmt.Errorf("data: a loader of no samples")
	case o.MicroBatch < 1 || o.GradAcc < 1 || o.Epochs < 1 || o.MaxSteps < 0:
		return fmt.Errorf("data: a loader of %d rows, %d micro-batches, %d epochs, %d steps at most", o.MicroBatch, o.GradAcc, o.Epochs, o.MaxSteps)
	case o.DPSize < 1 || o.DPRank < 0 || o.DPRank >= o.DPSize:
		return fmt.Errorf("data: a loader for data-parallel rank %d of %d", o.DPRank, o.DPSize)
	case o.Start < 0 || o.StartSamples < 0:
		return fmt.Errorf("data: a loader that starts at step %d, sample %d", o.Start, o.StartSamples)
	case o.Pack < 0:
		return fmt.Errorf("data: a loader that packs rows of %d tokens", o.Pack)
	}
	if o.Pack > 0 {
		i := slices.IndexFunc(d.tokens.places, func(p place) bool { return int(p.ids) > o.Pack })
		if i >= 0 {
			s, err := d.Sample(i)
			return errors.Join(fmt.Errorf("%s: %d tokens, which do not fit a packed row of %d: raise packed_sequence.packed_sequence_size", s.Origin, d.length(i), o.Pack), err)
		}
	}
	return nil
}

func (o LoaderOptions) globalBatch() int { return o.MicroBatch * o.GradAcc * o.DPSize }

// steps is the number of steps that take so many rows.
func (o LoaderOptions) steps(rows int) int { return (rows + o.globalBatch() - 1) / o.globalBatch() }

// order is the sequence of samples of an epoch: a function of seed and epoch alone.
func order(seed int64, epoch, samples int, shuffle bool) []int {
	if shuffle {
		return rand.New(rand.NewPCG(uint64(seed), uint64(epoch))).Perm(samples)
	}
	out := make([]int, samples)
	for i := range out {
		out[i] = i
	}
	return out
}

// dealer deals a data set out. It keeps the rows of one epoch at a time: to make them again takes less time than to
// read them from a file would.
type dealer struct {
	d       *Dataset
	o       LoaderOptions
	longest int // tokens of the longest sample
	epoch   int // that deck is of; -1 = none yet
	deck    deck
}

func (d *Dataset) dealer(o LoaderOptions) (*dealer, error) {
	if err := d.check(o); err != nil {
		return nil, err
	}
	return &dealer{d: d, o: o, longest: d.Stats().Longest, epoch: -1}, nil
}

// rows are the rows of an epoch.
func (l *dealer) rows(epoch int) deck {
	same := l.epoch >= 0 && !l.o.Shuffle
	if l.epoch != epoch && !same {
		l.deck = deck{samples: order(l.o.Seed, epoch, l.d.Len(), l.o.Shuffle)}
		if l.o.Pack > 0 {
			l.deck = l.d.pack(l.deck.samples, l.o.Pack)
		}
	}
	l.epoch = epoch
	return l.deck
}

// position is where a run stands: what the next step takes.
type position struct {
	step  int // of the run
	epoch int
	row   int // of the epoch's deck
}

// start is where the run starts. As an epoch sees every sample once, the samples seen tell epoch and place whatever the
// size of the steps was.
func (l *dealer) start() (position, error) {
	o, n := l.o, int64(l.d.Len())
	if o.StartSamples > 0 {
		p := position{step: o.Start, epoch: int(o.StartSamples / n)}
		seen, ok := int(o.StartSamples%n), true
		if seen > 0 {
			p.row, ok = l.rows(p.epoch).rowAt(seen)
		}
		if !ok {
			return p, fmt.Errorf("data: the run has seen %d samples of epoch %d, which is within a packed row: packed_sequence.packed_sequence_size, dataset.seq_length or the data is not what it was; put it back, or start afresh with checkpoint.resume = \"never\"", seen, p.epoch)
		}
		return p, nil
	}
	p := position{step: o.Start}
	for left := o.Start; ; p.epoch++ {
		steps := o.steps(l.rows(p.epoch).rows())
		if left < steps || p.epoch >= o.Epochs {
			p.row = left * o.globalBatch()
			return p, nil
		}
		left -= steps
	}
}

// next is the position after the step at p.
func (l *dealer) next(p position) position {
	p.step, p.row = p.step+1, p.row+l.o.globalBatch()
	if p.row >= l.rows(p.epoch).rows() {
		p.epoch, p.row = p.epoch+1, 0
	}
	return p
}

// total is the length of the run from a position on, the steps before it included.
func (l *dealer) total(p position) int {
	n, most := p.step, l.o.MaxSteps
	for ; p.epoch < l.o.Epochs && (most == 0 || n < most); p.epoch, p.row = p.epoch+1, 0 {
		n += l.o.steps(l.rows(p.epoch).rows() - p.row)
	}
	if most > 0 {
		n = min(n, most)
	}
	return n
}

// Steps is the length of the run that o describes, those before o.Start included.
func (d *Dataset) Steps(o LoaderOptions) (int, error) {
	l, err := d.dealer(o)
	if err != nil {
		return 0, err
	}
	p, err := l.start()
	if err != nil {
		return 0, err
	}
	return l.total(p), nil
}

// hands are the rows of a rank's micro-batches in the step at p, as [lo, hi) of the epoch's deck. Every rank has as
// many; in the last step of an epoch a rank's may be short of rows, or have none.
func (l *dealer) hands(p position) [][2]int {
	width, rows := l.o.MicroBatch*l.o.DPSize, l.rows(p.epoch).rows()
	var out [][2]int
	for lo := p.row; lo < min(p.row+l.o.globalBatch(), rows); lo += width {
		mine := lo + l.o.DPRank*l.o.MicroBatch
		out = append(out, [2]int{min(mine, rows), min(mine+l.o.MicroBatch, rows)})
	}
	return out
}
