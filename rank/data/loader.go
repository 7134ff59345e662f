package data

import (
	"cmp"
	"context"
	"errors"
	"io"
)

// Step is what one rank trains on in one optimizer step.
type Step struct {
	Epoch     int
	Step      int // of the run, from 0
	Micro     []Batch
	Samples   int  // samples of all ranks
	EndsEpoch bool // it is the epoch's last
	Last      bool // it is the run's last
}

// Loader makes steps ahead of their use, in a goroutine of its own. Close it.
type Loader struct {
	steps  chan *Step // closed after the last
	err    error      // why there are no more; set before steps is closed
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
	deal, err := d.dealer(o)
	if err != nil {
		return nil, err
	}
	at, err := deal.start()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Loader{steps: make(chan *Step, ahead), cancel: cancel, closed: ctx.Done(), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.err = deal.produce(ctx, at, l.steps)
		if ctx.Err() == nil {
			close(l.steps)
		}
	}()
	return l, nil
}

// produce sends the steps from at to the last, unless ctx ends it.
func (l *dealer) produce(ctx context.Context, at position, out chan<- *Step) error {
	for total := l.total(at); at.step < total; at = l.next(at) {
		rows := l.rows(at.epoch)
		end := min(at.row+l.o.globalBatch(), rows.rows())
		step := &Step{
			Epoch: at.epoch, Step: at.step, EndsEpoch: end == rows.rows(), Last: at.step == total-1,
			Samples: rows.before(end) - rows.before(at.row),
		}
		for _, hand := range l.hands(at) {
			b, err := l.batch(rows, hand[0], hand[1])
			if err != nil {
				return err
			}
			step.Micro = append(step.Micro, b)
		}
		select {
		case out <- step:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
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
			return nil, cmp.Or(l.err, io.EOF)
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
