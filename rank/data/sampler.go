package data

import (
	"fmt"
	"math/rand/v2"
)

// LoaderOptions say how samples are dealt out. A step takes MicroBatch * GradAcc * DPSize samples; the last of an epoch
// takes what is left, so that an epoch sees every sample once.
type LoaderOptions struct {
	Seed       int64
	Shuffle    bool
	Epochs     int
	MaxSteps   int // of the run; 0 = no limit
	MicroBatch int // rows
	GradAcc    int // micro-batches per step and rank
	DPRank     int
	DPSize     int
	Pad        int32 // id of padding; it is never seen

	Start        int   // steps that the run has made, to resume
	StartSamples int64 // samples that all ranks have seen in them; 0 = whole steps of these options
}

// valid tells whether a loader can be made of the options.
func (o LoaderOptions) valid(samples int) error {
	switch {
	case samples < 1:
		return fmt.Errorf("data: a loader of no samples")
	case o.MicroBatch < 1 || o.GradAcc < 1 || o.Epochs < 1 || o.MaxSteps < 0:
		return fmt.Errorf("data: a loader of %d rows, %d micro-batches, %d epochs, %d steps at most", o.MicroBatch, o.GradAcc, o.Epochs, o.MaxSteps)
	case o.DPSize < 1 || o.DPRank < 0 || o.DPRank >= o.DPSize:
		return fmt.Errorf("data: a loader for data-parallel rank %d of %d", o.DPRank, o.DPSize)
	case o.Start < 0 || o.StartSamples < 0:
		return fmt.Errorf("data: a loader that starts at step %d, sample %d", o.Start, o.StartSamples)
	}
	return nil
}

func (o LoaderOptions) globalBatch() int { return o.MicroBatch * o.GradAcc * o.DPSize }

// StepsPerEpoch is the number of steps that see every sample once.
func (o LoaderOptions) StepsPerEpoch(samples int) int {
	return (samples + o.globalBatch() - 1) / o.globalBatch()
}

// Steps is the length of the run, those before Start included.
func (o LoaderOptions) Steps(samples int) int {
	at, perEpoch := o.position(samples), o.StepsPerEpoch(samples)
	n := at.step - at.inEpoch + perEpoch*(o.Epochs-at.epoch)
	if at.epoch >= o.Epochs {
		n = at.step
	}
	if o.MaxSteps > 0 {
		n = min(n, o.MaxSteps)
	}
	return n
}

// position is where a run stands: what the next step takes.
type position struct {
	step    int // of the run
	epoch   int
	inEpoch int // step of the epoch, counted so that the epoch's last is StepsPerEpoch-1
	first   int // sample of the epoch's order
}

// position is where the run starts. As an epoch sees every sample once, the samples seen tell epoch and place whatever
// the size of the steps was.
func (o LoaderOptions) position(samples int) position {
	perEpoch := o.StepsPerEpoch(samples)
	if o.StartSamples == 0 {
		in := o.Start % perEpoch
		return position{o.Start, o.Start / perEpoch, in, in * o.globalBatch()}
	}
	p := position{step: o.Start, epoch: int(o.StartSamples / int64(samples)), first: int(o.StartSamples % int64(samples))}
	p.inEpoch = perEpoch - o.StepsPerEpoch(samples-p.first)
	return p
}

// after is the position after the step at p.
func (o LoaderOptions) after(p position, samples int) position {
	next := position{p.step + 1, p.epoch, p.inEpoch + 1, p.first + o.globalBatch()}
	if next.first >= samples {
		next.epoch, next.inEpoch, next.first = p.epoch+1, 0, 0
	}
	return next
}

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

// deal returns the samples of a rank's micro-batches in the step that takes sequence[first:] of an epoch. Every rank
// has as many; in the last step of an epoch a rank's may be short of samples, or have none.
func (o LoaderOptions) deal(sequence []int, first int) [][]int {
	width := o.MicroBatch * o.DPSize
	var out [][]int
	for lo := first; lo < min(first+width*o.GradAcc, len(sequence)); lo += width {
		mine := lo + o.DPRank*o.MicroBatch
		from, to := min(mine, len(sequence)), min(mine+o.MicroBatch, len(sequence))
		out = append(out, sequence[from:to:to])
	}
	return out
}
