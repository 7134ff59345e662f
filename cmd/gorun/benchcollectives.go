package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"gorun/collective"
	"gorun/csrc/plugins"
	"gorun/rank"
)

// benchCmds are the benchmarks.
type benchCmds struct {
	Train       benchCmd            `cmd:"" default:"withargs" help:"Measure training. This is the default."`
	Generate    benchGenerateCmd    `cmd:"" help:"Measure generation: how fast a prompt is read and tokens are made."`
	Collectives benchCollectivesCmd `cmd:"" help:"Measure all-reduce, all-gather and reduce-scatter between ranks of this machine: GPUs by NCCL, or CPU ranks by TCP."`
}

type benchCollectivesCmd struct {
	Ranks  int  `default:"2" placeholder:"N" help:"Ranks that talk."`
	Max    int  `default:"67108864" placeholder:"BYTES" help:"Largest tensor; others are each four times smaller, down to 1 KiB."`
	Rounds int  `default:"10" placeholder:"N" help:"Times that each collective is measured, after a warm-up."`
	JSON   bool `name:"json" help:"Print one JSON object per line."`
}

// Run measures NCCL between GPUs, each a process's, or the host backend over the loopback interface.
func (c *benchCollectivesCmd) Run(ctx context.Context, a *app) error {
	if c.Ranks < 2 || c.Ranks > 64 || c.Max < 1024 || c.Max > 1<<32 || c.Rounds < 1 {
		return fmt.Errorf("%w: --ranks must be 2 to 64, --max 1024 to 4294967296, --rounds at least 1", errUsage)
	}
	var sizes []int
	for n := c.Max; n >= 1024; n /= 4 {
		sizes = append([]int{n}, sizes...)
	}
	place, several, err := placeOnThisMachine()
	if err != nil {
		return err
	}
	kind, device, err := a.device()
	if err != nil {
		return err
	}
	var speeds []collective.Speed
	switch {
	case kind == plugins.CPU:
		speeds, err = collective.Bench(ctx, c.Ranks, sizes, c.Rounds)
	case several:
		speeds, err = rank.BenchCollectives(ctx, place, device, sizes, c.Rounds)
	default:
		return a.asRanks(ctx, c.Ranks)
	}
	if err != nil || place.Rank > 0 {
		return err
	}
	if c.JSON {
		for _, s := range speeds {
			if err := json.NewEncoder(a.stdout).Encode(s); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "collective\tbytes\ttime us\talgbw GB/s\tbusbw GB/s\t\n")
	for _, s := range speeds {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.3f\t%.3f\t\n", s.Op, s.Bytes, 1e6*s.Time, s.AlgBW, s.BusBW)
	}
	return t.Flush()
}
