package data

import (
	"context"
	"errors"
	"io"
)

// Step is what one rank trains on in one optimizer step.
type Step struct {
	Epoch   int
	Step    int // of the run, from 0
	InEpoch int // of the epoch, from 0; the epoch's last is StepsPerEpoch-1
	Micro   []Batch
	Samples int // samples of all ranks
	Last    bool
}

// Loader makes steps ahead of their use, in a goroutine of its own. Close it.
type Loader struct {
	steps  chan *Step // closed after the last
	cancel context.CancelFunc
	closed <-chan struct{} // cancel was called
	done   chan struct{}   // the goroutine has ended
}

// ahead is how many steps are kept ready.
const ahead = 2

// errClosed is what a closed loader gives.
var errClosed = errors.New("data: the loader is closed")

// NewLoader starts at step o.Start.
func (d *Dataset) NewLoader(o LoaderOptions) (*Loader, error) {
	if err := o.valid(len(d.Samples)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{steps: make(chan *Step, ahead), cancel: cancel, closed: ctx.Done(), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		d.produce(ctx, o, l.steps)
	}()
	return l, nil
}

// produce sends the steps from o.Start to the last, then closes out, unless ctx ends it.
func (d *Dataset) produce(ctx context.Context, o LoaderOptions, out chan<- *Step) {
	n := len(d.Samples)
	total, limit := o.Steps(n), d.longest()
	epoch, sequence := -1, []int(nil)
	for at := o.position(n); at.step < total; at = o.after(at, n) {
		if at.epoch != epoch {
			epoch, sequence = at.epoch, order(o.Seed, at.epoch, n, o.Shuffle)
		}
		step := &Step{
			Epoch: at.epoch, Step: at.step, InEpoch: at.inEpoch,
			Samples: min(n-at.first, o.globalBatch()), Last: at.step == total-1,
		}
		for _, samples := range o.deal(sequence, at.first) {
			step.Micro = append(step.Micro, d.pad(o.MicroBatch, samples, o.Pad, limit))
		}
		select {
		case out <- step:
		case <-ctx.Done():
			return
		}
	}
	close(out)
}

// Next returns the next step, or io.EOF after the last. It waits no longer than ctx.
func (l *Loader) Next(ctx context.Context) (*Step, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case <-l.closed:
		return nil, errClosed
	default:
	}
	select {
	case s, ok := <-l.steps:
		if !ok {
			return nil, io.EOF
		}
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.closed:
		return nil, errClosed
	}
}

// Close ends the loader's goroutine and waits for it.
func (l *Loader) Close() {
	l.cancel()
	<-l.done
}
