package main

import (
	"context"
	"errors"
	"fmt"

	"gorun/csrc/plugins"
	"gorun/rank"
)

type planCmd struct {
	recipeFlags

	Ranks       int `default:"1" placeholder:"N" help:"Show it for the first of N ranks, machines times GPUs."`
	ShowSamples int `placeholder:"N" help:"Also show the first N samples, with what is trained on marked."`
}

// Run prints what training would do.
func (c *planCmd) Run(ctx context.Context, a *app) (err error) {
	if c.Ranks < 1 {
		return fmt.Errorf("%w: --ranks %d: want 1 or more", errUsage, c.Ranks)
	}
	recipe, err := c.load()
	if err != nil {
		return err
	}
	job, err := a.prepare(ctx, recipe, rank.Place{World: c.Ranks}, a.resolve(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	if err := job.Settle(a.deviceKind() == plugins.CUDA); err != nil {
		return err
	}
	if err := job.Describe(a.stdout); err != nil {
		return err
	}
	return job.ShowSamples(a.stdout, c.ShowSamples)
}
