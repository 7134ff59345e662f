package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"gorun/configs"
	"gorun/rank"
)

type benchCmd struct {
	Base      string `default:"demo:smollm2-135m" placeholder:"MODEL" help:"The model to train (demo:smollm2-135m), or random weights of a known shape (mock:llama3-8b, mock:llama3-70b, mock:llama3.2-1b, mock:mixtral-8x7b, mock:qwen2.5-7b, mock:qwen3-30b-a3b, mock:smollm2-135m)."`
	DType     string `name:"dtype" enum:"auto,f32,bf16" default:"auto" help:"Compute dtype: f32 or bf16; auto is f32 on CPU and bf16 on a GPU."`
	BatchSize int    `default:"4" placeholder:"N" help:"Samples in a micro-batch."`
	SeqLength int    `default:"256" placeholder:"N" help:"Tokens of a sample."`
	Steps     int    `default:"10" placeholder:"N" help:"Steps to measure, after the warm-up."`
	Warmup    int    `default:"5" placeholder:"N" help:"Steps before measuring."`
	JSON      bool   `name:"json" help:"Print one JSON object."`
	Trace     string `placeholder:"FILE" help:"On an NVIDIA GPU: say what the device does in a few steps more, and write it as JSON that ui.perfetto.dev shows."`

	Gpus int      `default:"1" placeholder:"N" help:"Ranks that train together on this machine; the first one's figures are printed, tok/s for each rank."`
	Set  []string `sep:"none" placeholder:"SECTION.KEY=VALUE" help:"Change a value of the benchmark's recipe. May be given many times."`
}

// Run measures training: LoRA of dim 16 on all projections, random ids, every token supervised.
func (c *benchCmd) Run(ctx context.Context, a *app) error {
	if c.BatchSize < 1 || c.SeqLength < 2 || c.Steps < 1 || c.Warmup < 1 || c.Gpus < 1 {
		return fmt.Errorf("%w: --batch-size, --steps, --warmup and --gpus must be at least 1, --seq-length 2", errUsage)
	}
	place, several, err := placeOnThisMachine()
	if err != nil {
		return err
	}
	if c.Gpus > 1 && !several {
		return a.asRanks(ctx, c.Gpus)
	}
	r, err := c.measure(ctx, a, place)
	if err != nil {
		return err
	}
	peak, err := peakRSS()
	if err != nil || place.Rank > 0 {
		return err
	}
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(struct {
			Base string `json:"base"`
			*rank.BenchResult
			DType   string  `json:"dtype"`
			Rows    int     `json:"batch_size"`
			Seq     int     `json:"seq_length"`
			RSS     float64 `json:"peak_rss_gib"`
			CPUs    int     `json:"cpus"`
			Version string  `json:"version"`
		}{c.Base, r, c.DType, c.BatchSize, c.SeqLength, peak, runtime.NumCPU(), gorunVersion()})
	}
	c.print(a.stdout, r, peak)
	return nil
}

// measure trains.
func (c *benchCmd) measure(ctx context.Context, a *app, place rank.Place) (r *rank.BenchResult, err error) {
	kind, device, err := a.device()
	if err != nil {
		return nil, err
	}
	if c.Trace != "" && !device.CUDA {
		return nil, fmt.Errorf("%w: --trace is for NVIDIA GPUs: XLA's plugin for the CPU records nothing", errUsage)
	}
	if c.DType == "auto" {
		c.DType = baseFlags{DType: c.DType}.dtype(kind)
	}
	device.GPU = place.GPU
	recipe, err := c.recipe(max(1, place.World))
	if err != nil {
		return nil, err
	}
	job, err := rank.PrepareAt(ctx, place, recipe, a.resolve(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	work := rank.Measurement{Warmup: c.Warmup, Steps: c.Steps}
	if c.Trace != "" && place.Rank > 0 {
		work.Trace = io.Discard
	} else if c.Trace != "" {
		f, createErr := os.Create(c.Trace)
		if createErr != nil {
			return nil, fmt.Errorf("--trace: %w", createErr)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		work.Trace = f
	}
	return job.Bench(ctx, rank.Options{Device: device, Version: gorunVersion(), Out: a.stdout}, work)
}

// print writes the result for people; peak is the process's memory in GiB.
func (c *benchCmd) print(w io.Writer, r *rank.BenchResult, peak float64) {
	fmt.Fprintf(w, "%s, %s, %d x %d tokens, %s, %s (%s), kernels: %s\n", c.Base, r.Training, c.BatchSize, c.SeqLength, c.DType, r.Kind, r.Platform, r.Kernels)
	if r.Useful < 0.999*r.TokS {
		fmt.Fprintf(w, "%.0f useful tok/s, of all that follow: the others are padding\n", r.Useful)
	}
	fmt.Fprintf(w, "%.0f tok/s (median of %d steps: %.3f s, from %.3f to %.3f) | %.3f TFLOP/s | open %.1f s | first step after %.1f s | loss %.4f to %.4f | device %.2f GiB (plan %.2f) | peak RSS %.2f GiB\n",
		r.TokS, len(r.Steps), r.Median, r.Best, r.Worst, r.TFLOPS, r.Open, r.FirstStep, r.FirstLoss, r.Loss, r.DeviceGiB, r.PlanGiB, peak)
	if r.Moving > 0 {
		fmt.Fprintf(w, "of a step, collectives move data for %.1f ms, and programs wait for it for %.1f ms\n", 1e3*r.Moving, 1e3*r.Exposed)
	}
	if r.Trace != nil {
		r.Trace.Print(w)
	}
	if r.Gathers != "" {
		fmt.Fprintf(w, "shards of the base are gathered %s\n", r.Gathers)
	}
	for _, p := range r.Programs {
		fmt.Fprintf(w, "  %-10s %3d x %8.3f ms, each waited for, %.2f GiB scratch\n", p.Name, p.Calls, 1e3*p.Seconds/float64(p.Calls), float64(p.Scratch)/(1<<30))
	}
}

// recipe is the benchmark's work on a number of ranks, as the flags change it.
func (c *benchCmd) recipe(ranks int) (*configs.Recipe, error) {
	r := rank.BenchRecipe(c.Base, c.DType, c.BatchSize, c.SeqLength)
	r.Dataset.NumSamples *= ranks
	var text bytes.Buffer
	if err := r.Write(&text); err != nil {
		return nil, err
	}
	changed, err := configs.Parse("bench", text.Bytes(), c.Set)
	if err != nil {
		return nil, err
	}
	return changed, changed.Validate()
}

// peakRSS is the process's largest resident memory so far, in GiB.
func peakRSS() (float64, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read the process's memory: %w", err)
	}
	return float64(u.Maxrss) / (1 << 20), nil // Linux counts KiB
}
