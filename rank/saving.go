package rank

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorun/fsdp"
	"gorun/rank/ckpt"
)

// saving is a checkpoint being written while training goes on: every rank that has a part of it reads that and gives it to
// rank 0, which writes. A rank has one at a time at most, and nothing else publishes in the folder meanwhile. A run does
// not end before it has ended, and its failure ends the run: at the edge of the next step, or where the next checkpoint or
// the end of the run waits for it.
type saving struct {
	step    int
	paused  time.Duration // how long training waited while its state was captured
	reading *fsdp.Reading
	done    chan struct{} // closed when path, err and took hold
	path    string
	err     error
	took    time.Duration // from the capture to the last link
}

// checkpoint begins to save the run as it stands. Rank 0 writes; its format knows no shards, so any number of ranks can go
// on from it.
func (t *trainer) checkpoint(ctx context.Context) error {
	start := time.Now()
	if err := t.awaitSaving(); err != nil {
		return err
	}
	c, err := t.capture()
	if err != nil {
		return err
	}
	t.position.savedStep, t.position.valLoss = c.state.Step, nil
	if c.reading == nil {
		return nil
	}
	s := &saving{step: c.state.Step, paused: time.Since(start), reading: c.reading, done: make(chan struct{})}
	t.saving = s
	go func() {
		defer close(s.done)
		s.path, s.err = t.write(ctx, c)
		s.took = time.Since(start)
	}()
	return nil
}

// write brings what was captured to rank 0, which publishes it.
func (t *trainer) write(ctx context.Context, c captured) (path string, err error) {
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.reading.Each(t.world.aside, c.add); err != nil {
		return "", fmt.Errorf("save checkpoint of step %d: %w", c.state.Step, err)
	}
	if !t.world.leads() {
		return "", nil
	}
	if !t.recipe.Checkpoint.SaveOptimizer {
		c.state.Moment1, c.state.Moment2 = nil, nil
	}
	return t.dir.Save(ctx, c.state, ckpt.SaveOptions{Keep: t.recipe.Checkpoint.Keep})
}

// pollSaving tells of a checkpoint that has been written since.
func (t *trainer) pollSaving() error {
	if t.saving == nil {
		return nil
	}
	select {
	case <-t.saving.done:
		return t.saved()
	default:
		return nil
	}
}

// awaitSaving waits, on every rank, until the checkpoint that is being written is whole.
func (t *trainer) awaitSaving() error {
	if err := t.saved(); err != nil {
		return err
	}
	_, err := t.world.fromLeader("that a checkpoint is whole", "")
	return err
}

// saved waits for the checkpoint that is being written, if there is one, and says where it is.
func (t *trainer) saved() error {
	s := t.saving
	if s == nil {
		return nil
	}
	<-s.done
	t.saving = nil
	if s.err != nil {
		return s.err
	}
	if !t.world.leads() {
		return nil
	}
	s.paused += s.reading.Waited()
	t.world.events.tell(event{Event: "saved", Step: s.step, PauseS: s.paused.Seconds(), TookS: s.took.Seconds()})
	t.recorded(t.log.Print(fmt.Sprintf("saved %s (written in %s, training paused for %s)", s.path, brief(s.took), brief(s.paused))))
	return nil
}

// brief is a duration to two or three digits.
func brief(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}
