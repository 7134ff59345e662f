package data

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
)

// Batch is one micro-batch of one rank, right-padded to a common length.
type Batch struct {
	Rows, Seq              int
	IDs, Positions, Labels []int32 // [Rows*Seq]
	Samples                []int   // data set indexes of the rows; rows beyond them only fill the batch
	Valid                  int     // supervised positions
}

// Step is what one rank trains on in one optimizer step.
type Step struct {
	Epoch   int
	Step    int // of the run, from 0
	InEpoch int // of the epoch, from 0
	Micro   []Batch
	Samples int // samples of all ranks
	Last    bool
}

// LoaderOptions say how samples are dealt out. A step takes MicroBatch * GradAcc * DPSize samples.
type LoaderOptions struct {
	Seed       int64
	Shuffle    bool
	Epochs     int
	MaxSteps   int // of the run; 0 = no limit
	MicroBatch int // rows
	GradAcc    int // micro-batches per step and rank
	DPRank     int
	DPSize     int
	Start      int   // first step of the run, to resume
	Pad        int32 // id of padding; it is never seen
}

// StepsPerEpoch is the number of steps that see every sample once.
func (o LoaderOptions) StepsPerEpoch(samples int) int {
	global := o.MicroBatch * o.GradAcc * o.DPSize
	return (samples + global - 1) / global
}

// Steps is the length of the run.
func (o LoaderOptions) Steps(samples int) int {
	n := o.StepsPerEpoch(samples) * o.Epochs
	if o.MaxSteps > 0 {
		n = min(n, o.MaxSteps)
	}
	return n
}

// order is the sequence of samples of an epoch.
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

// Lengths that rows are padded to: few enough that programs are compiled rarely, close enough that little is padding.
func bucket(n int) int {
	unit := 512
	switch {
	case n <= 512:
		unit = 64
	case n <= 1024:
		unit = 128
	case n <= 4096:
		unit = 256
	}
	return max(1, (n+unit-1)/unit) * unit
}

// pad makes a micro-batch of rows rows from samples; missing rows are filled with padding that trains nothing.
func (d *Dataset) pad(rows int, samples []int, padID int32, limit int) Batch {
	longest := 0
	for _, i := range samples {
		longest = max(longest, len(d.Samples[i].IDs))
	}
	b := Batch{Rows: rows, Seq: bucket(longest), Samples: samples}
	if limit > 0 && longest <= limit {
		b.Seq = min(b.Seq, limit)
	}
	n := rows * b.Seq
	b.IDs, b.Positions, b.Labels = make([]int32, n), make([]int32, n), make([]int32, n)
	for r := range rows {
		for t := range b.Seq {
			at := r*b.Seq + t
			b.IDs[at], b.Positions[at], b.Labels[at] = padID, int32(t), Ignored
			if r < len(samples) {
				if s := d.Samples[samples[r]]; t < len(s.IDs) {
					b.IDs[at], b.Labels[at] = s.IDs[t], s.Labels[t]
				}
			}
			if b.Labels[at] != Ignored {
				b.Valid++
			}
		}
	}
	return b
}

// deal returns this rank's share of step number s of an epoch with the given order.
func (d *Dataset) deal(o LoaderOptions, sequence []int, s int) []Batch {
	width := o.MicroBatch * o.DPSize
	first := s * width * o.GradAcc
	var out []Batch
	for m := range o.GradAcc {
		lo := first + m*width
		if lo >= len(sequence) {
			break // nothing left for any rank
		}
		mine := lo + o.DPRank*o.MicroBatch
		from, to := min(mine, len(sequence)), min(mine+o.MicroBatch, len(sequence))
		out = append(out, d.pad(o.MicroBatch, sequence[from:to], o.Pad, d.longest()))
	}
	return out
}

// longest is the longest sample, to which a bucket is cut: a set of equal lengths needs no padding.
func (d *Dataset) longest() int {
	n := 0
	for _, s := range d.Samples {
		n = max(n, len(s.IDs))
	}
	return n
}

// Batches lists the whole set in order, in batches of rows rows: for validation.
func (d *Dataset) Batches(rows int, padID int32) []Batch {
	o := LoaderOptions{MicroBatch: rows, GradAcc: 1, DPSize: 1, Epochs: 1, Pad: padID}
	sequence := order(0, 0, len(d.Samples), false)
	var out []Batch
	for s := range o.StepsPerEpoch(len(d.Samples)) {
		out = append(out, d.deal(o, sequence, s)...)
	}
	return out
}

// Loader makes steps ahead of their use, in a goroutine of its own. Close it.
type Loader struct {
	steps  chan *Step
	cancel context.CancelFunc
	done   chan struct{}
}

// ahead is how many steps are kept ready.
const ahead = 2

// NewLoader starts at step o.Start.
func (d *Dataset) NewLoader(o LoaderOptions) (*Loader, error) {
	if o.MicroBatch < 1 || o.GradAcc < 1 || o.DPSize < 1 || o.DPRank < 0 || o.DPRank >= o.DPSize || o.Epochs < 1 || len(d.Samples) == 0 {
		return nil, errors.New("data: a loader needs samples, and at least one row, micro-batch, rank and epoch")
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{steps: make(chan *Step, ahead), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer close(l.steps)
		d.produce(ctx, o, l.steps)
	}()
	return l, nil
}

func (d *Dataset) produce(ctx context.Context, o LoaderOptions, out chan<- *Step) {
	perEpoch, total := o.StepsPerEpoch(len(d.Samples)), o.Steps(len(d.Samples))
	global := o.MicroBatch * o.GradAcc * o.DPSize
	epoch, sequence := -1, []int(nil)
	for s := o.Start; s < total; s++ {
		if e := s / perEpoch; e != epoch {
			epoch, sequence = e, order(o.Seed, e, len(d.Samples), o.Shuffle)
		}
		in := s % perEpoch
		step := &Step{Epoch: epoch, Step: s, InEpoch: in, Micro: d.deal(o, sequence, in), Last: s == total-1}
		step.Samples = min(len(sequence), (in+1)*global) - in*global
		select {
		case out <- step:
		case <-ctx.Done():
			return
		}
	}
}

// Next returns the next step, or io.EOF after the last.
func (l *Loader) Next(ctx context.Context) (*Step, error) {
	select {
	case s, ok := <-l.steps:
		if !ok {
			return nil, io.EOF
		}
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close ends the loader's goroutine.
func (l *Loader) Close() {
	l.cancel()
	<-l.done
}

// Largest is the micro-batch of rows rows that takes most memory: the longest samples.
func (d *Dataset) Largest(rows int) Batch {
	all := order(0, 0, len(d.Samples), false)
	slices.SortStableFunc(all, func(a, b int) int { return len(d.Samples[b].IDs) - len(d.Samples[a].IDs) })
	return d.pad(rows, all[:min(rows, len(all))], 0, d.longest())
}
