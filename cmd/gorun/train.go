package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"gorun/configs"
	"gorun/csrc/plugins"
	"gorun/launcher/rdzv"
	"gorun/rank"
)

type trainCmd struct {
	recipeFlags
	launchFlags
}

// recipeFlags name a recipe and change it.
type recipeFlags struct {
	Recipe string   `arg:"" name:"RECIPE.toml" help:"The recipe: a TOML file, or the name of a shipped recipe."`
	Set    []string `sep:"none" placeholder:"SECTION.KEY=VALUE" help:"Change a value of the recipe. May be given many times."`
}

// args are the flags for another gorun that is to take the recipe at path, at the end of its command line.
func (f recipeFlags) args(path string) []string {
	var args []string
	for _, set := range f.Set {
		args = append(args, "--set="+set)
	}
	return append(args, "--", path)
}

// load reads the recipe.
func (f recipeFlags) load() (*configs.Recipe, error) { return configs.Load(f.Recipe, f.Set) }

// prepare reads everything that a recipe names, for the rank at a place.
func (a *app) prepare(ctx context.Context, recipe *configs.Recipe, p rank.Place, resolve rank.Resolve) (*rank.Job, error) {
	cache, err := plugins.CacheDir()
	if err != nil {
		return nil, err
	}
	p.Cache, p.Progress = filepath.Join(cache, "tokens"), a.progress()
	return rank.PrepareAt(ctx, p, recipe, resolve)
}

// Run trains: in this process, or with an agent and its ranks.
func (c *trainCmd) Run(ctx context.Context, a *app) error {
	read := unread()
	defer read()
	step, err := c.underSlurm(a)
	if err != nil {
		return err
	}
	if step != nil {
		return c.runStep(ctx, a, step)
	}
	ranks, err := c.ranks(a)
	if err != nil {
		return err
	}
	if c.inProcess(ranks) {
		return c.train(ctx, a)
	}
	stopped := false
	err = c.launch(ctx, a, ranks, func(v *rdzv.Verdict) { stopped = v.Stopped })
	if err == nil && stopped {
		return errLeft
	}
	return err
}

// unread keeps this process alive where nobody reads its output any more, as when an interrupt has ended the tee behind it
// first: a write fails then, which no run minds, and SIGPIPE would end the run before it has saved. So would a second SIGHUP,
// which a closed terminal and its shell may both send. The function that it returns ends that.
func unread() (end func()) { return outlive(syscall.SIGPIPE) }

// train trains in this process.
func (c *trainCmd) train(ctx context.Context, a *app) (err error) {
	recipe, err := c.load()
	if err != nil {
		return err
	}
	kind, device, err := a.device() // before what may take long: a plugin that is missing should not cost it
	if err != nil {
		return err
	}
	job, err := a.prepare(ctx, recipe, rank.Place{}, a.resolve(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	if err := job.Settle(device.CUDA); err != nil {
		return err
	}
	if err := job.Describe(a.stdout); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "device  %s by %s\n\n", kind, device.Plugin)
	heard := context.AfterFunc(ctx, func() {
		a.log.Info().Msg("asked to stop: the run ends its step and saves; a second interrupt ends it at once")
	})
	defer heard()
	return job.Run(ctx, rank.Options{Device: device, Version: gorunVersion(), Command: os.Args, Out: a.stdout})
}
