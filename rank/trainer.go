package rank

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gorun/configs"
	"gorun/model"
	"gorun/model/export"
	"gorun/rank/ckpt"
	"gorun/rank/data"
	"gorun/rank/metrics"
)

// Options are what a run needs beside its job.
type Options struct {
	Device  Device
	Version string    // of gorun, for checkpoints and the run's records
	Command []string  // the command line, for the run's records
	Out     io.Writer // for people; rank 0 alone writes to it
	Fault   io.Writer // for what may explain a failure among several ranks; nil = nowhere
}

// trainer is a run in progress.
type trainer struct {
	*Session
	job        *Job
	opts       Options
	recipe     *configs.Recipe
	recipeText string
	from       *export.Adapter
	deal       data.LoaderOptions // how samples are dealt out, from where the run stands
	dir        *ckpt.Dir          // nil when this rank saves nothing
	resumed    string             // the checkpoint that dir's run goes on from; "" = none
	drift      []ckpt.Change      // of the recipe since that one
	saving     *saving            // the checkpoint that is being written; nil = none
	world      *world
	log        *metrics.Logger
	meter      meter
	position   position
}

// position is how far a run has come.
type position struct {
	epoch                 int
	samples, epochSamples int64
	tokens                int64
	loss                  float64
	valLoss, bestVal      *float64
	savedStep             int // the last one that a checkpoint was begun of
}

// ErrStopped is how a run ends that was asked to stop: all ranks have ended the same step and saved.
var ErrStopped = errors.New("stopped at the edge of a step")

// Run trains as the job says. When ctx is cancelled, on any rank, all ranks end the step they are in, save, and return
// ErrStopped with the context's error. Any other error ends the run on all ranks.
func (j *Job) Run(ctx context.Context, o Options) (err error) {
	if err := j.Settle(o.Device.CUDA); err != nil {
		return err
	}
	if j.Mesh.Rank() != 0 {
		o.Out = io.Discard
	}
	t := &trainer{job: j, opts: o, recipe: j.Recipe, from: j.From}
	if t.world, err = join(ctx, j.Mesh, j.Place, j.Recipe.DistEnv); err != nil {
		return err
	}
	defer func() {
		failed := err
		if errors.Is(failed, ErrStopped) {
			failed = nil
		}
		if failed != nil && o.Fault != nil {
			fmt.Fprint(o.Fault, t.world.record())
		}
		err = errors.Join(err, t.world.leave(failed))
	}()
	if err := t.run(ctx); err != nil {
		return err
	}
	t.world.events.tell(event{Event: "done", Step: t.state.Steps()})
	return nil
}

func (t *trainer) run(ctx context.Context) (err error) {
	j := t.job
	if t.recipeText, err = j.recipeText(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(err)) }()
	saved, err := t.openFolder()
	if err != nil {
		return err
	}
	if err := t.load(saved); err != nil {
		return err
	}
	steps, err := j.Train.Steps(t.deal)
	if err != nil {
		return err
	}
	if t.deal.Start >= steps {
		fmt.Fprintf(t.opts.Out, "nothing to do: the run has all of its %d steps\n", steps)
		return nil
	}
	if err := t.begin(steps); err != nil {
		return err
	}
	t.world.events.tell(event{Event: "ready", Step: t.state.Steps()})
	return t.loop(ctx, steps)
}

// load brings the model to the device, as a checkpoint has it or as the run begins (nil).
func (t *trainer) load(saved *ckpt.State) error {
	t.deal = t.job.loaderOptions()
	if saved != nil {
		defer saved.Close() //nolint:errcheck // only read from; closed when it has been read, below
		t.deal.Start, t.deal.StartSamples = saved.Step, saved.Samples
	}
	first, err := t.job.firstShapes(t.deal)
	if err != nil {
		return err
	}
	if t.Session, err = open(t.opts.Device, t.job.Base, t.job.parameters(t.world), first); err != nil {
		return err
	}
	t.meter = t.job.meter(t.dev.Kind())
	if saved == nil {
		return t.state.ZeroMoments()
	}
	return errors.Join(t.restore(saved), saved.Close())
}

// begin opens the run's records, up to its last step. Until here nothing of an earlier run has been touched.
func (t *trainer) begin(steps int) (err error) {
	if err := t.setAside(); err != nil {
		return err
	}
	if t.log, err = metrics.New(t.logOptions(steps)); err != nil {
		return err
	}
	if err := t.describe(); err != nil {
		return err
	}
	if t.withoutKernels == nil {
		return nil
	}
	return t.log.Print(fmt.Sprintf("without gorun's own kernels: %v", t.withoutKernels))
}

// openFolder takes the checkpoint folder for this run and finds what to resume from (nil = start afresh). Rank 0 chooses
// for all.
func (t *trainer) openFolder() (saved *ckpt.State, err error) {
	if !t.recipe.Checkpoint.Enabled {
		return nil, nil
	}
	path := ""
	if t.world.leads() {
		if path, err = t.takeFolder(); err != nil {
			return nil, err
		}
	}
	if path, err = t.world.fromLeader("the checkpoint to resume from", path); err != nil || path == "" {
		return nil, err
	}
	if saved, err = ckpt.Map(path); err != nil {
		return nil, err
	}
	mapped := saved
	defer func() {
		if err != nil {
			err = errors.Join(err, mapped.Close())
			saved = nil
		}
	}()
	if len(saved.Moment1) == 0 {
		return nil, fmt.Errorf("%s holds no optimizer state (checkpoint.save_optimizer was false), so it cannot be resumed: set checkpoint.resume = \"never\", or peft.init_from = %q", path, path)
	}
	fmt.Fprintf(t.opts.Out, "resuming from %s\n", path)
	if t.drift, err = ckpt.RecipeDrift(saved.Recipe, t.recipeText); err != nil {
		return nil, err
	}
	for _, change := range t.drift {
		t.note("the recipe has changed since: " + change.String())
	}
	return saved, nil
}

func (t *trainer) note(line string) { fmt.Fprintln(t.opts.Out, "note:", line) }

// takeFolder locks the folder and returns the checkpoint to resume from ("" = none).
func (t *trainer) takeFolder() (path string, err error) {
	c := t.recipe.Checkpoint
	if t.dir, err = ckpt.Open(c.Dir, t.note); err != nil {
		return "", err
	}
	found, err := ckpt.Resolve(c.Dir, c.Resume)
	if err != nil {
		return "", err
	}
	for _, w := range found.Warnings {
		t.note(w)
	}
	t.resumed = found.Path
	return found.Path, nil
}

// setAside moves checkpoints that this run does not build on out of its way, now that it is about to begin.
func (t *trainer) setAside() error {
	if t.dir == nil || t.recipe.Checkpoint.Resume == "auto" {
		return nil
	}
	folder, moved, err := t.dir.SetAside(t.resumed)
	if moved > 0 {
		t.note(fmt.Sprintf("%s of before, which this run does not build on, now in %s", plural(moved, "checkpoint"), folder))
	}
	return err
}

// firstShapes are the shapes of the micro-batches of the first step that o deals out, to be compiled while the weights are loaded.
func (j *Job) firstShapes(o data.LoaderOptions) ([]model.Shape, error) {
	l, err := j.Train.NewLoader(o)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	step, err := l.Next(context.Background())
	if errors.Is(err, io.EOF) {
		return nil, nil // the run is complete
	} else if err != nil {
		return nil, err
	}
	var out []model.Shape
	for _, mb := range step.Micro {
		out = append(out, j.shapeOf(mb))
	}
	return out, nil
}

// shapeOf is what the programs of a micro-batch are compiled for.
func (j *Job) shapeOf(mb data.Batch) model.Shape {
	return j.Config.Shape(model.Batch{Rows: mb.Rows, Seq: mb.Seq, Labels: mb.Labels, Starts: mb.Starts})
}

// close ends the run, outcome being how it ended, and writes its report.
func (t *trainer) close(outcome error) error {
	if outcome != nil && !errors.Is(outcome, ErrStopped) {
		t.world.fail(outcome) // first of all: no other rank waits any longer
	}
	errs := []error{t.saved()} // a run that fails leaves its last checkpoint whole all the same
	if t.log != nil {
		errs = append(errs, t.log.Close(outcome), t.writeReport())
	}
	if t.Session != nil {
		errs = append(errs, t.Session.Close())
	}
	if t.dir != nil {
		errs = append(errs, t.dir.Close())
	}
	return errors.Join(errs...)
}
