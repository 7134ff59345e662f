package rank

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"gorun/collective"
	"gorun/configs"
	"gorun/csrc/device"
	"gorun/fsdp"
	"gorun/rank/data"
	"gorun/rank/trace"
)

// BenchResult is the outcome of a benchmark; times in seconds.
type BenchResult struct {
	Open      float64       `json:"open_s"`       // client, weights, programs
	FirstStep float64       `json:"first_step_s"` // from the start to the end of the first step
	Steps     []float64     `json:"step_s"`       // each measured step: data, all micro-batches, optimizer
	Median    float64       `json:"median_step_s"`
	Best      float64       `json:"best_step_s"`
	Worst     float64       `json:"worst_step_s"`
	TokS      float64       `json:"tok_s"`          // tokens per second of the median step, and per rank if there are several
	Useful    float64       `json:"useful_tok_s"`   // of those tokens, which are no padding
	TFLOPS    float64       `json:"tflop_s"`        // by NeMo AutoModel's formula
	Moving    float64       `json:"moving_step_s"`  // between GPUs: of a step, this long data moved for collectives,
	Exposed   float64       `json:"exposed_step_s"` // and this long programs waited for it
	Gathers   string        `json:"gathers"`        // how shards of the frozen base are gathered, and why so; "" = not between GPUs
	DeviceGiB float64       `json:"mem_gib"`        // peak of the device's memory
	PlanGiB   float64       `json:"plan_gib"`       // what 'gorun plan' says of it
	FirstLoss float64       `json:"first_loss"`
	Loss      float64       `json:"loss"`     // of the last step
	Platform  string        `json:"platform"` // "cpu", "cuda"
	Programs  []ProgramTime `json:"programs"` // of one more step, in which every execution is waited for
	Kind      string        `json:"device"`
	Plugin    string        `json:"plugin"`
	Kernels   string        `json:"kernels"`     // which pieces of a block gorun's own kernels compute, or why none
	Training  string        `json:"training"`    // what is trained
	Idle      float64       `json:"idle_step_s"` // of a traced step, the device did nothing for so long

	Trace *trace.Summary `json:"-"` // of the traced steps; nil = there were none
}

// Measurement says what Bench does.
type Measurement struct {
	Warmup int       // steps that do not count
	Steps  int       // steps that do
	Trace  io.Writer // where what the device does in a few steps more is written, as Trace Event JSON; nil = nowhere
}

// Bench trains on the job's data and measures. Nothing is saved. As in training, the outcome of a step is read when the next
// one has been queued (on CPU at once): a step lasts from one reading to the next. So one more step is queued after the last
// that counts.
func (j *Job) Bench(ctx context.Context, o Options, m Measurement) (res *BenchResult, err error) {
	start := time.Now()
	if err := j.Settle(o.Device.CUDA); err != nil {
		return nil, err
	}
	first, err := j.firstShapes(j.loaderOptions())
	if err != nil {
		return nil, err
	}
	t := &trainer{job: j, opts: o, recipe: j.Recipe, from: j.From}
	if t.world, err = join(ctx, j.Mesh, j.Place, j.Recipe.DistEnv); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.world.leave(err)) }()
	defer func() { err = errors.Join(err, t.close(err)) }()
	if t.Session, err = open(o.Device, j.Base, j.parameters(t.world), first); err != nil {
		return nil, err
	}
	if err := t.state.ZeroMoments(); err != nil {
		return nil, err
	}
	kernels := j.kernels(first[0])
	if t.withoutKernels != nil {
		kernels = fmt.Sprintf("none (%v)", t.withoutKernels)
	}
	res = &BenchResult{Open: time.Since(start).Seconds(), Platform: t.dev.Platform(), Kind: t.dev.Kind(), Plugin: t.dev.Version(), Kernels: kernels, Training: j.training()}
	lo := j.loaderOptions()
	lo.Epochs = m.Warmup + m.Steps + tracedSteps + 2 // more than enough
	loader, err := j.Train.NewLoader(lo)
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	b := benchmark{trainer: t, loader: loader, result: res, start: start, Measurement: m}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	if m.Trace != nil {
		if err := b.trace(ctx); err != nil {
			return nil, err
		}
	}
	if res.Programs, err = b.programs(ctx); err != nil {
		return nil, err
	}
	return res, b.sumUp()
}

// benchmark is a measurement in progress.
type benchmark struct {
	*trainer
	loader *data.Loader
	result *BenchResult
	start  time.Time // of everything
	Measurement
	read   int       // steps whose outcome has been read
	at     time.Time // when the last one was
	tokens int       // of the last step
	useful int       // of these, no padding: all that mock data has are trained on

	before, after collective.Traffic // the steps that count, as far as the device is known to have come
}

// sumUp makes of the steps what one of them took, moved and held.
func (b *benchmark) sumUp() error {
	j, res := b.job, b.result
	res.Gathers = b.world.gathers()
	moved := b.after.Sub(b.before)
	res.Moving, res.Exposed = moved.Moving.Seconds()/float64(b.Measurement.Steps), moved.Exposed.Seconds()/float64(b.Measurement.Steps)
	sorted := slices.Sorted(slices.Values(res.Steps))
	res.Best, res.Median, res.Worst = sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
	res.TokS = float64(b.tokens) / float64(j.sharing()) / res.Median
	res.Useful = res.TokS * float64(b.useful) / float64(b.tokens)
	res.TFLOPS = j.flopsPerToken()(j.Recipe.Dataset.SeqLength) * res.TokS / 1e12
	_, planned, err := j.fullest()
	if err != nil {
		return err
	}
	res.DeviceGiB, res.PlanGiB = float64(b.dev.Memory().Peak)/gib, float64(planned.total())/gib
	return nil
}

// run takes the steps and leaves the times of those that count in the result.
func (b *benchmark) run(ctx context.Context) error {
	var ahead *fsdp.Step // queued, not read
	b.at = time.Now()
	for range b.Warmup + b.Steps + 1 {
		batch, err := b.loader.Next(ctx)
		if err != nil {
			return err
		}
		b.tokens, b.useful = 0, 0
		for _, mb := range batch.Micro {
			b.tokens += mb.Rows * mb.Seq
			b.useful += mb.Valid
		}
		step, err := b.step(ctx, batch, b.recipe.Optimizer.LR)
		if err != nil {
			return fmt.Errorf("step %d: %w", batch.Step, err)
		}
		if err := b.take(ahead); err != nil {
			return err
		}
		ahead = step
		if b.dev.Platform() == "cpu" || batch.Step == 0 {
			if err := b.take(ahead); err != nil {
				return err
			}
			ahead = nil
		}
	}
	if err := b.take(ahead); err != nil {
		return err
	}
	b.result.Steps = b.result.Steps[b.Warmup : b.Warmup+b.Steps]
	return nil
}

// take waits for a step and takes its time.
func (b *benchmark) take(step *fsdp.Step) error {
	if step == nil {
		return nil
	}
	outcome, err := step.Read()
	if err != nil {
		return fmt.Errorf("step %d: %w", b.read, err)
	}
	now := time.Now()
	b.result.Loss = outcome.Loss
	if b.read == 0 {
		b.result.FirstStep, b.result.FirstLoss = now.Sub(b.start).Seconds(), outcome.Loss
	}
	b.result.Steps = append(b.result.Steps, now.Sub(b.at).Seconds())
	b.read++
	b.at = now
	if b.read <= b.Warmup {
		b.before, err = b.world.traffic()
		b.after = b.before
	} else if b.read <= b.Warmup+b.Steps {
		b.after, err = b.world.traffic()
	}
	return err
}

// ProgramTime is what the executions of one program took in a step.
type ProgramTime struct {
	Name    string  `json:"name"`
	Calls   int     `json:"calls"`
	Seconds float64 `json:"s"`             // of all calls
	Scratch int64   `json:"scratch_bytes"` // of one
}

// programs takes one more step, waiting for every execution.
func (b *benchmark) programs(ctx context.Context) ([]ProgramTime, error) {
	batch, err := b.loader.Next(ctx)
	if err != nil {
		return nil, err
	}
	var list []ProgramTime
	b.dev.Observe(func(program *device.Program, took time.Duration) {
		name := program.Name()
		i := slices.IndexFunc(list, func(p ProgramTime) bool { return p.Name == name })
		if i < 0 {
			i, list = len(list), append(list, ProgramTime{Name: name, Scratch: program.Scratch()})
		}
		list[i].Calls++
		list[i].Seconds += took.Seconds()
	})
	defer b.dev.Observe(nil)
	step, err := b.step(ctx, batch, b.recipe.Optimizer.LR)
	if err == nil {
		_, err = step.Read()
	}
	return list, err
}

// BenchRecipe is the protocol's work on a base: random ids, no padding, every token but the last supervised, LoRA of
// dim 16 on all projections, one micro-batch per step.
func BenchRecipe(base, dtype string, rows, seq int) *configs.Recipe {
	r := configs.Default()
	r.Model.PretrainedModelNameOrPath, r.Model.DType = base, dtype
	r.PEFT.Scheme = "lora"
	r.Dataset.Kind, r.Dataset.SeqLength, r.Dataset.NumSamples = "mock", seq, rows
	r.Dataloader.BatchSize = rows
	r.Optimizer.Name, r.Optimizer.LR = "adamw", 1e-4
	r.Checkpoint.Enabled = false
	return r
}
