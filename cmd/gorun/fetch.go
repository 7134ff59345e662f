package main

import (
	"context"
	"errors"
	"fmt"

	"gorun/model/hub"
)

type fetchCmd struct {
	ID       string   `arg:"" name:"MODEL_OR_DATASET_ID" help:"ORG/NAME on the Hugging Face Hub."`
	Dataset  bool     `help:"It is a dataset."`
	Revision string   `placeholder:"NAME" help:"Branch, tag or commit. Default: main."`
	Include  []string `sep:"none" placeholder:"GLOB" help:"Fetch the files that match, instead of what training needs. May be given many times."`
}

// Run brings a snapshot into the cache and prints its path. Progress goes to standard error.
func (c *fetchCmd) Run(ctx context.Context, a *app) error {
	kind := hub.Model
	if c.Dataset {
		kind = hub.Dataset
	}
	repo, err := hub.ParseRepo(kind, c.ID)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	client, err := a.hub()
	if err != nil {
		return err
	}
	defer client.Close()
	snapshot, err := client.Fetch(ctx, hub.Request{Repo: repo, Revision: c.Revision, Include: c.Include, Progress: a.progress()})
	if errors.Is(err, hub.ErrNotFound) && !c.Dataset {
		return fmt.Errorf("%w; a dataset is fetched with --dataset", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, snapshot.Path)
	return nil
}
