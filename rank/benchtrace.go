package rank

import (
	"context"
	"errors"
	"fmt"

	"gorun/fsdp"
	"gorun/rank/trace"
)

// tracedSteps is how many steps a trace is of. Three of them are whole (trace.Summary).
const tracedSteps = 5

// trace takes a few more steps, with the host as far ahead of the device as in those that were measured, records what the
// device and its driver do, and writes it.
func (b *benchmark) trace(ctx context.Context) error {
	recording, err := b.dev.StartTrace()
	if err != nil {
		return err
	}
	err = b.queue(ctx, tracedSteps)
	record, stopErr := recording.Stop()
	if err = errors.Join(err, stopErr); err != nil {
		return err
	}
	t, err := trace.Parse(record)
	if err != nil {
		return err
	}
	sum := t.Summarize(tracedSteps)
	b.result.Trace, b.result.Idle = &sum, sum.Idle.Seconds()/float64(sum.Steps)
	if err := t.WriteChrome(b.Trace); err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	return nil
}

// queue takes steps, each read when the next one has been queued.
func (b *benchmark) queue(ctx context.Context, steps int) error {
	var ahead *fsdp.Step
	read := func() (err error) {
		if ahead != nil {
			_, err = ahead.Read()
		}
		return err
	}
	for range steps {
		batch, err := b.loader.Next(ctx)
		if err != nil {
			return err
		}
		step, err := b.step(ctx, batch, b.recipe.Optimizer.LR)
		if err = errors.Join(err, read()); err != nil {
			return err
		}
		ahead = step
	}
	return read()
}
