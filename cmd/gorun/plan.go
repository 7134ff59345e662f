package main

import (
	"context"
	"errors"

	"gorun/csrc/plugins"
)

type planCmd struct {
	recipeFlags

	ShowSamples int `placeholder:"N" help:"Also show the first N samples, with what is trained on marked."`
}

// Run prints what training would do.
func (c *planCmd) Run(ctx context.Context, a *app) (err error) {
	job, err := c.prepare(ctx, a)
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
	job.ShowSamples(a.stdout, c.ShowSamples)
	return nil
}
