package rank

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gorun/configs"
)

// BenchResult is the outcome of a benchmark; times in seconds.
type BenchResult struct {
	Open      float64   `json:"open_s"`       // client, weights, programs
	FirstStep float64   `json:"first_step_s"` // from the start to the end of the first step
	Steps     []float64 `json:"step_s"`       // each measured step: data, all micro-batches, optimizer
	Median    float64   `json:"median_step_s"`
	Best      float64   `json:"best_step_s"`
	Worst     float64   `json:"worst_step_s"`
	TokS      float64   `json:"tok_s"`    // tokens per second of the median step
	TFLOPS    float64   `json:"tflop_s"`  // by NeMo AutoModel's formula
	DeviceGiB float64   `json:"mem_gib"`  // peak of the device's allocator
	Loss      float64   `json:"loss"`     // of the last step
	Platform  string    `json:"platform"` // "cpu", "cuda"
	Kind      string    `json:"device"`
	Plugin    string    `json:"plugin"`
}

// Bench trains on the job's data for warmup steps and then measures. Nothing is saved.
func (j *Job) Bench(ctx context.Context, o Options, warmup, steps int) (res *BenchResult, err error) {
	start := time.Now()
	first, err := j.firstShapes(j.loaderOptions())
	if err != nil {
		return nil, err
	}
	t := &trainer{job: j, opts: o, recipe: j.Recipe, from: j.From}
	p := parameters{Config: j.Config, opt: j.optimizer(), from: j.From, init: j.Recipe.PEFT.LoraAInit, seed: j.Recipe.RNG.Seed}
	if t.Session, err = open(o.Device, j.Base, p, first); err != nil {
		return nil, err
	}
	defer func() {
		if cerr := t.close(err); err == nil {
			err = cerr
		}
	}()
	if err := t.state.ZeroMoments(t.dev); err != nil {
		return nil, err
	}
	res = &BenchResult{Open: time.Since(start).Seconds(), Platform: t.dev.Platform(), Kind: t.dev.Kind(), Plugin: t.dev.Version()}
	lo := j.loaderOptions()
	lo.Epochs = warmup + steps // more than enough
	loader, err := j.Train.NewLoader(lo)
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	tokens := 0
	for s := range warmup + steps {
		at := time.Now()
		batch, err := loader.Next(ctx)
		if err != nil {
			return nil, err
		}
		step, err := t.step(ctx, batch, j.Recipe.Optimizer.LR)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", s, err)
		}
		if res.Loss, _, err = step.Read(); err != nil {
			return nil, fmt.Errorf("step %d: %w", s, err)
		}
		if s == 0 {
			res.FirstStep = time.Since(start).Seconds()
		}
		if s >= warmup {
			res.Steps = append(res.Steps, time.Since(at).Seconds())
		}
		tokens = 0
		for _, mb := range batch.Micro {
			tokens += mb.Rows * mb.Seq
		}
	}
	sorted := slices.Sorted(slices.Values(res.Steps))
	res.Best, res.Median, res.Worst = sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
	res.TokS = float64(tokens) / res.Median
	adapter := j.trainedParams()
	if j.Config.Full {
		adapter = 0
	}
	res.TFLOPS = j.Base.Decoder.FLOPsPerToken(j.Recipe.Dataset.SeqLength, adapter) * res.TokS / 1e12
	res.DeviceGiB = float64(t.dev.Memory().Peak) / gib
	return res, nil
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
