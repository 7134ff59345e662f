package rank

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"time"

	"gorun/collective"
	"gorun/fsdp"
	"gorun/rank/data"
	"gorun/rank/metrics"
)

// loop takes the run from where it stands to its last step. Beside each step, never inside it: the line of the step
// before, validation, checkpoints, which are written while it goes on.
func (t *trainer) loop(ctx context.Context, total int) error {
	loader, err := t.job.Train.NewLoader(t.deal)
	if err != nil {
		return err
	}
	defer loader.Close()
	if t.deal.Start == 0 { // a run that resumes has its answers from before
		if err := t.samples(t.world.steady(ctx), metrics.Before); err != nil {
			return err
		}
	}
	var last *running // the step whose outcome has not been read yet
	clock := time.Now()
	stop := false
	for {
		if stop, err = t.world.any("whether to stop", ctx.Err() != nil); err != nil || stop {
			break
		}
		batch, err := loader.Next(context.WithoutCancel(ctx))
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		lr := learningRate(t.recipe.Optimizer, t.recipe.LRScheduler, batch.Step, total)
		// A step once begun is ended, so that an interrupted run saves a whole number of them.
		step, err := t.step(context.WithoutCancel(ctx), batch, lr)
		if err != nil {
			return fmt.Errorf("step %d: %w", batch.Step+1, err)
		}
		// On a device of its own the host runs a step ahead; on CPU the two share their cores and nothing is won.
		if err := t.report(last, &clock); err != nil {
			return err
		}
		last = &running{batch, step, lr}
		if t.dev.Platform() == "cpu" {
			if err := t.settle(&last, &clock); err != nil {
				return err
			}
		}
		if err := t.beside(ctx, batch, &last, &clock); err != nil {
			return err
		}
	}
	if err := errors.Join(err, t.settle(&last, &clock)); err != nil {
		return err
	}
	return t.end(ctx, stop)
}

// beside does what is due after a step: validates, begins a checkpoint, tells of one that has been written meanwhile.
func (t *trainer) beside(ctx context.Context, batch *data.Step, last **running, clock *time.Time) error {
	validate := t.every(t.recipe.StepScheduler.ValEverySteps, batch) && len(t.job.Val) > 0
	save := t.recipe.Checkpoint.Enabled && t.every(t.recipe.StepScheduler.CkptEverySteps, batch)
	if validate || save {
		if err := t.settle(last, clock); err != nil {
			return err
		}
	}
	if validate {
		if err := t.validate(t.world.steady(ctx)); err != nil {
			return err
		}
	}
	if save {
		if err := t.checkpoint(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if validate || save {
		*clock = time.Now()
	}
	return t.pollSaving()
}

// end ends a run that has made all of its steps or was asked to stop: what it has done is saved.
func (t *trainer) end(ctx context.Context, stopped bool) error {
	if stopped && t.recipe.Checkpoint.Enabled && t.state.Steps() > t.position.savedStep {
		if err := t.checkpoint(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if err := t.awaitSaving(); err != nil {
		return err
	}
	if stopped {
		return errors.Join(ErrStopped, context.Cause(ctx), t.log.Print(t.stoppedWhere()))
	}
	return t.samples(t.world.steady(ctx), metrics.After)
}

// stoppedWhere says where a run ends that was asked to stop.
func (t *trainer) stoppedWhere() string {
	switch done := t.state.Steps(); {
	case done == 0:
		return "stopped as asked, before the first step"
	case !t.recipe.Checkpoint.Enabled:
		return fmt.Sprintf("stopped as asked, after step %d; nothing is saved, as the recipe says", done)
	default:
		return fmt.Sprintf("stopped as asked, after step %d, which is saved", done)
	}
}

// running is a step that has been queued.
type running struct {
	batch *data.Step
	step  *fsdp.Step
	lr    float64
}

// every tells whether something due every n steps is due after this one; it always is after the last.
func (t *trainer) every(n int, batch *data.Step) bool {
	return batch.Last || n > 0 && (batch.Step+1)%n == 0
}

// settle reports the last step now.
func (t *trainer) settle(last **running, clock *time.Time) error {
	err := t.report(*last, clock)
	*last = nil
	return err
}

// report waits for a step, moves the position and writes its line.
func (t *trainer) report(r *running, clock *time.Time) error {
	if r == nil {
		return nil
	}
	o, err := r.step.Read()
	if failed := t.world.err(); failed != nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("step %d: %w", r.batch.Step+1, err)
	}
	loss, norm := o.Loss, o.Norm
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return fmt.Errorf("step %d: the loss is %g (gradient norm %g): lower optimizer.lr, or look for broken samples among %v of the data set", r.batch.Step+1, loss, norm, sampleIDs(r.batch))
	}
	p := &t.position
	p.samples += int64(r.batch.Samples)
	p.epochSamples += int64(r.batch.Samples)
	p.tokens += int64(o.Tokens)
	p.loss = loss
	p.epoch = r.batch.Epoch
	if r.batch.EndsEpoch {
		p.epoch, p.epochSamples = r.batch.Epoch+1, 0
	}
	t.world.events.tell(event{Event: "step", Step: r.batch.Step + 1})
	spent := time.Since(*clock).Seconds()
	*clock = time.Now()
	speed, mfu := t.meter.read(r.batch, spent)
	return t.log.Step(metrics.Record{
		Step: r.batch.Step + 1, Epoch: r.batch.Epoch, Loss: loss, GradNorm: norm, LR: r.lr, NumLabelTokens: o.Tokens,
		TokS: speed, StepTimeS: spent, MFU: mfu, MemGiB: float64(t.dev.Memory().Peak) / gib,
	})
}

func sampleIDs(s *data.Step) []int {
	var out []int
	for _, mb := range s.Micro {
		out = append(out, mb.Samples...)
	}
	return out
}

// validate measures the mean loss on every validation set; the first set's, or their mean, is what LOWEST_VAL goes by.
func (t *trainer) validate(ctx context.Context) error {
	sum := 0.0
	for _, name := range t.job.valNames {
		start := time.Now()
		loss, tokens, err := t.meanLoss(ctx, t.job.Val[name], t.recipe.ValidationDataloader.BatchSize)
		if err != nil {
			return fmt.Errorf("validation set %s: %w", name, err)
		}
		sum += loss
		err = t.log.Validation(metrics.ValidationRecord{Step: t.state.Steps(), Epoch: t.position.epoch, Set: name, ValLoss: loss, NumLabelTokens: tokens, TimeS: time.Since(start).Seconds()})
		if err != nil {
			return err
		}
	}
	mean := sum / float64(len(t.job.valNames))
	t.position.valLoss = &mean
	if t.position.bestVal == nil || mean < *t.position.bestVal {
		t.position.bestVal = &mean
	}
	return nil
}

// meanLoss is the mean loss over the supervised tokens of a set, of which so many samples are scored together.
func (s *Session) meanLoss(ctx context.Context, d *data.Dataset, rows int) (loss float64, tokens int, err error) {
	return s.meanLossOf(ctx, dealt(s.world.mesh, d.Batches(rows, s.Base.pad())))
}

// dealt is this rank's share of a set's batches. Every rank gets as many, for their collectives to match: where they run
// out, the last one again, with nothing to score.
func dealt(m collective.Mesh, batches data.Batches) iter.Seq2[data.Batch, error] {
	size, mine, all := 1, 0, batches.Len()
	if m.Size(collective.Replicate, collective.Shard) > 1 { // else m may be no mesh at all
		size, mine = m.Size(collective.Replicate, collective.Shard), m.Coordinate(collective.Replicate, collective.Shard)
	}
	return func(yield func(data.Batch, error) bool) {
		for i := mine; i-mine < all; i += size {
			b, err := batches.At(min(i, all-1))
			if i >= all {
				b.Labels, b.Valid = slices.Repeat([]int32{data.Ignored}, len(b.Labels)), 0
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func (s *Session) meanLossOf(ctx context.Context, batches iter.Seq2[data.Batch, error]) (loss float64, tokens int, err error) {
	for mb, err := range batches {
		if err != nil {
			return 0, 0, err
		}
		logp, err := s.Score(ctx, mb)
		if err != nil {
			return 0, 0, err
		}
		for _, l := range logp {
			loss -= float64(l)
		}
		tokens += len(logp)
	}
	if !s.world.counts() {
		loss, tokens = 0, 0
	}
	sums, err := s.world.sum("validation loss", loss, float64(tokens))
	if err != nil {
		return 0, 0, err
	}
	if loss, tokens = sums[0], int(sums[1]); tokens == 0 {
		return 0, 0, errors.New("no token to score")
	}
	return loss / float64(tokens), tokens, nil
}
