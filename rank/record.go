package rank

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"gorun/configs"
	"gorun/rank/metrics"
	"gorun/rank/report"
)

// folder is where the run's records go; "" = nowhere, as the run neither saves checkpoints nor was given a place, or
// another rank keeps them.
func (t *trainer) folder() string {
	if !t.world.leads() {
		return ""
	}
	l := t.recipe.Logging
	if t.dir != nil || l.Dir != "" || l.Tensorboard || t.wandb() != nil {
		return t.recipe.LogDir()
	}
	return ""
}

// wandb is what the recipe says of Weights & Biases, nil = nothing.
func (t *trainer) wandb() *metrics.WandbOptions {
	w := t.recipe.Logging.Wandb
	if w.Project == "" || w.Mode != "offline" {
		return nil
	}
	return &metrics.WandbOptions{Project: w.Project, Entity: w.Entity, Name: w.Name, Recipe: t.recipeText, Version: t.opts.Version}
}

// logOptions says where the run's lines and records go; total is its last step.
func (t *trainer) logOptions(total int) metrics.Options {
	l := t.recipe.Logging
	o := metrics.Options{ResumeStep: t.state.Steps(), TotalSteps: total, EverySteps: l.EverySteps, Output: t.opts.Out, DefaultSet: configs.DefaultSet}
	switch {
	case t.opts.Device.CUDA:
		o.Device = "gpu"
	case t.job.Mesh.World() > 1:
		o.Device = "rank"
	}
	if t.world.leads() {
		o.Dir, o.JSONL, o.Tensorboard, o.Wandb, o.Prometheus = t.folder(), l.JSONL, l.Tensorboard, t.wandb(), l.Prometheus
	}
	return o
}

// describe puts into the run's folder what runs where: environment.json and the effective recipe, which lies beside the
// checkpoints too.
func (t *trainer) describe() error {
	dir := t.folder()
	if dir == "" {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("describe the run: %w", err)
	}
	facts, err := t.job.facts()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("describe the run: %w", err)
	}
	if err := metrics.WriteFile(filepath.Join(dir, metrics.RecipeFile), []byte(t.recipeText)); err != nil {
		return err
	}
	if t.dir != nil && dir != t.recipe.Checkpoint.Dir {
		if err := metrics.WriteFile(filepath.Join(t.dir.Path(), metrics.RecipeFile), []byte(t.recipeText)); err != nil {
			return err
		}
	}
	return metrics.Environment{
		Gorun: t.opts.Version, Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Host: host, CPUs: runtime.NumCPU(),
		Plugin: t.opts.Device.Plugin, XLA: t.dev.Version(), Platform: t.dev.Platform(), Device: t.dev.Kind(),
		Started: time.Now().Truncate(time.Second), ResumeStep: t.state.Steps(), Command: t.opts.Command, Facts: facts,
	}.Write(dir)
}

// writeReport writes report.html over the run's records, if there are any.
func (t *trainer) writeReport() error {
	dir := t.folder()
	if dir == "" || !t.recipe.Logging.JSONL {
		return nil
	}
	return report.Write(dir)
}
