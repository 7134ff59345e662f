package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gorun/configs"
	"gorun/launcher/slurm"
)

// sbatchCmd writes a batch script for Slurm.
type sbatchCmd struct {
	recipeFlags
	launchFlags

	JobName    string   `placeholder:"NAME" help:"Name of the job (the recipe's)."`
	Partition  string   `placeholder:"NAME" help:"Partition to run in (the cluster's default)."`
	Account    string   `placeholder:"NAME" help:"Account to charge."`
	QOS        string   `name:"qos" placeholder:"NAME" help:"Quality of service."`
	Constraint string   `placeholder:"FEATURES" help:"Features that the nodes must have, as h100&nvlink."`
	Time       string   `placeholder:"LIMIT" help:"How long one turn of the job may take, as 04:00:00 or 1-12 (the partition's limit)."`
	CPUs       int      `name:"cpus" placeholder:"N" help:"CPUs on each node (whole nodes, with all of their memory)."`
	Mem        string   `placeholder:"SIZE" help:"Memory on each node, as 64G, with --cpus."`
	Warning    int      `default:"120" placeholder:"SECONDS" help:"How long before the limit the run is told to checkpoint and be queued again. Slurm may be a minute early."`
	Output     string   `default:"slurm-%j.out" placeholder:"FILE" help:"Where the job's output goes; %j is its number. Its folder must exist."`
	Option     []string `sep:"none" placeholder:"OPTION" help:"A further option of sbatch, as --option=--mail-type=END. May be given many times."`
	Before     []string `sep:"none" placeholder:"COMMAND" help:"A shell command to run before, as --before='module load cuda'. May be given many times."`
	Script     string   `placeholder:"FILE" help:"Where to write the script (NAME.sbatch)."`
	Submit     bool     `help:"Submit it too."`
}

// Run writes the script and says how to submit it, or submits it.
func (c *sbatchCmd) Run(ctx context.Context, a *app) error {
	recipe, err := configs.LoadElsewhere(c.Recipe, c.Set)
	if err != nil {
		return err
	}
	script, err := c.script(a, recipe)
	if err == nil {
		err = script.Validate()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	path := c.Script
	if path == "" {
		path = filepath.Base(script.Name) + ".sbatch"
	}
	if err := writeScript(path, script.Text()); err != nil {
		return err
	}
	if !c.Submit {
		fmt.Fprintf(a.stdout, "wrote %s; submit it with\n\n    sbatch %s\n", path, path)
		return nil
	}
	id, err := slurm.Submit(ctx, path)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "wrote %s and submitted it as job %s; its output goes to %s\n", path, id, strings.ReplaceAll(c.Output, "%j", id))
	return nil
}

// script settles what the flags leave open.
func (c *sbatchCmd) script(a *app, recipe *configs.Recipe) (*slurm.Script, error) {
	nodes, err := strconv.Atoi(c.Nnodes)
	if err != nil {
		return nil, fmt.Errorf("--nnodes %s: a job has a fixed number of nodes: name it", c.Nnodes)
	}
	ranks, err := c.ranksThere(a)
	err = errors.Join(err, c.goesOn(recipe))
	if err != nil {
		return nil, err
	}
	folder, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("the working folder: %w", err)
	}
	command, err := c.command(a, ranks)
	if err != nil {
		return nil, err
	}
	name := c.JobName
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(c.Recipe), ".toml")
	}
	s := &slurm.Script{
		About: fmt.Sprintf(" %s for %s", gorunVersion(), c.Recipe), Name: name, Command: command,
		Partition: c.Partition, Account: c.Account, QOS: c.QOS, Constraint: c.Constraint, Time: c.Time,
		Nodes: nodes, GPUs: ranks, CPUs: c.CPUs, Memory: c.Mem, Warning: c.Warning, Folder: folder, Output: c.Output,
		Options: c.Option, Before: c.Before,
	}
	if a.Device == "cpu" {
		s.GPUs = 0
	}
	return s, nil
}

// ranksThere is the number of ranks on each node, which is not this machine.
func (c *sbatchCmd) ranksThere(a *app) (int, error) {
	if c.Gpus == "" && a.Device == "cpu" {
		return 1, nil
	}
	n, err := strconv.Atoi(c.Gpus)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("--gpus %q: say how many GPUs of each node to use, 1 or more; for nodes without, --device cpu and the number of ranks", c.Gpus)
	}
	return n, nil
}

// goesOn refuses what would not outlive a turn of the job.
func (c *sbatchCmd) goesOn(r *configs.Recipe) error {
	var faults []error
	if !r.Checkpoint.GoesOn() {
		faults = append(faults, errors.New("the recipe must have checkpoint.enabled = true and checkpoint.resume = \"auto\": a job that is queued again goes on from its checkpoint"))
	}
	if shutdown := seconds(c.ShutdownTimeout, defaultShutdown); shutdown.Seconds() >= float64(c.Warning) {
		faults = append(faults, fmt.Errorf("--warning %d: want more than --shutdown-timeout (%s), so that the checkpoint is done before the job's time is over", c.Warning, shutdown))
	}
	if given := c.meeting(); len(given) > 0 {
		faults = append(faults, fmt.Errorf("%s: Slurm's job says how its nodes meet: leave it away", strings.Join(given, ", ")))
	}
	return errors.Join(faults...)
}

// command is what each node runs.
func (c *sbatchCmd) command(a *app, ranks int) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("this program's path: %w", err)
	}
	there := a.globals
	if there.Device == "auto" {
		there.Device = "cuda" // not, on a node whose GPUs are ill, the CPU
	}
	command := append([]string{self, "train"}, there.args()...)
	command = append(command, c.launchFlags.args(ranks)...)
	recipe := c.Recipe
	if _, err := os.Stat(recipe); err == nil { // a file, not a shipped one
		if recipe, err = filepath.Abs(recipe); err != nil {
			return nil, err
		}
	}
	return append(command, c.recipeFlags.args(recipe)...), nil
}

// args are the launch flags for a gorun under Slurm, which needs no others.
func (f *launchFlags) args(ranks int) []string {
	args := []string{fmt.Sprintf("--gpus=%d", ranks)}
	if f.MaxRestarts > 0 {
		args = append(args, fmt.Sprintf("--max-restarts=%d", f.MaxRestarts))
	}
	for _, n := range []struct {
		flag  string
		value *float64
	}{{"--monitor-interval", f.MonitorInterval}, {"--shutdown-timeout", f.ShutdownTimeout}} {
		if n.value != nil {
			args = append(args, fmt.Sprintf("%s=%v", n.flag, *n.value))
		}
	}
	for _, s := range []struct{ flag, value string }{{"--log-dir", f.LogDir}, {"--redirects", f.Redirects}, {"--tee", f.Tee}, {"--local-ranks-filter", f.LocalRanksFilter}} {
		if s.value != "" {
			args = append(args, s.flag+"="+s.value)
		}
	}
	return args
}

// writeScript replaces only a script that gorun wrote.
func writeScript(path, text string) error {
	switch old, err := os.ReadFile(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fmt.Errorf("--script: %w", err)
	case !strings.Contains(string(old), "\n"+slurm.Mark):
		return fmt.Errorf("--script: %s is there, and not by gorun: name another file", path)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("--script: %w", err)
	}
	return nil
}
