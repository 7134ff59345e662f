package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"gorun/configs"
	"gorun/csrc/plugins"
	"gorun/launcher"
	"gorun/launcher/rdzv"
)

// launchFlags say how many ranks train and what becomes of their output. Names and meanings are torchrun's.
type launchFlags struct {
	nodeFlags
	Gpus             string   `aliases:"nproc-per-node" env:"PET_NPROC_PER_NODE" placeholder:"N" help:"Ranks to start on each machine (1; under Slurm, what the job has); auto is one for each NVIDIA GPU, or one (--nproc-per-node)."`
	MaxRestarts      int      `default:"0" env:"PET_MAX_RESTARTS" placeholder:"N" help:"Start all ranks again, from the last checkpoint, at most so often after a failure."`
	MonitorInterval  *float64 `env:"PET_MONITOR_INTERVAL" placeholder:"SECONDS" help:"How often to look for ranks that hang (0.1)."`
	ShutdownTimeout  *float64 `env:"PET_SHUTDOWN_TIMEOUT" placeholder:"SECONDS" help:"How long ranks may take to checkpoint and end after SIGTERM (30)."`
	LogDir           string   `env:"PET_LOG_DIR" placeholder:"DIR" help:"Folder for the ranks' output (the recipe's folder of logs)."`
	Redirects        string   `short:"r" env:"PET_REDIRECTS" placeholder:"STREAMS" help:"Streams kept off the console: 0 none, 1 stdout, 2 stderr, 3 both, or by local rank, as 0:1,1:3."`
	Tee              string   `short:"t" env:"PET_TEE" placeholder:"STREAMS" help:"Streams shown on the console although --redirects names them."`
	LocalRanksFilter string   `env:"PET_LOCAL_RANKS_FILTER" placeholder:"RANKS" help:"Local ranks to show on the console, as 0,1."`
}

// defaultShutdown is --shutdown-timeout if it is not given.
const defaultShutdown = 30 * time.Second

// inProcess tells whether one rank is wanted and nothing that only an agent can do: then this process is the rank.
func (f *launchFlags) inProcess(ranks int) bool {
	return f.oneNode() && ranks == 1 && f.MaxRestarts == 0 && f.MonitorInterval == nil && f.ShutdownTimeout == nil &&
		f.RdzvID+f.LogDir+f.Redirects+f.Tee+f.LocalRanksFilter == ""
}

// ranks reads --gpus.
func (f *launchFlags) ranks(a *app) (int, error) {
	n := 1
	if f.Gpus != "" && f.Gpus != "auto" {
		var err error
		if n, err = strconv.Atoi(f.Gpus); err != nil || n < 1 {
			return 0, fmt.Errorf("%w: --gpus %s: want a number of ranks, 1 or more, or auto", errUsage, f.Gpus)
		}
	}
	if f.Gpus != "auto" && n == 1 {
		return n, nil // one rank says itself what is wrong with its GPU
	}
	switch {
	case !a.usesGPUs():
		return n, nil
	case f.Gpus == "auto":
		return a.countGPUs()
	}
	return n, a.enoughGPUs(n)
}

// usesGPUs tells whether ranks compute on GPUs. A plugin that is missing is for the ranks to complain of.
func (a *app) usesGPUs() bool {
	kind, _, err := a.findPlugin()
	return err == nil && kind == plugins.CUDA
}

// config is what the agent is to do for a recipe.
func (f *launchFlags) config(r *configs.Recipe, ranks int, a *app) (*launcher.Config, error) {
	c := &launcher.Config{
		Gpus: ranks, RunID: launcher.DefaultRunID, MaxRestarts: f.MaxRestarts,
		Tick: seconds(f.MonitorInterval, 100*time.Millisecond), ShutdownTimeout: seconds(f.ShutdownTimeout, defaultShutdown),
		// Ranks have timeouts of their own, and know which one counts; the agent's is for when they can't tell any more.
		HangTimeout: max(r.DistEnv.Timeout(), r.DistEnv.StartupTimeout(), r.DistEnv.CheckpointTimeout()),
		LogDir:      r.LogDir(), Out: a.stdout, Err: a.stderr, Log: a.log, Version: gorunVersion(),
	}
	if f.LogDir != "" {
		c.LogDir = f.LogDir
	}
	var faults [5]error
	c.Redirects, faults[0] = streams("--redirects", f.Redirects)
	c.Tee, faults[1] = streams("--tee", f.Tee)
	c.LocalFilter, faults[2] = launcher.ParseLocalRanks(f.LocalRanksFilter)
	faults[3] = f.place(c, a)
	if f.MaxRestarts > 0 && !r.Checkpoint.GoesOn() {
		faults[4] = fmt.Errorf("--max-restarts %d: the recipe must have checkpoint.enabled = true and checkpoint.resume = \"auto\", for ranks that are started again to go on from the last checkpoint", f.MaxRestarts)
	}
	return c, errors.Join(faults[:]...)
}

func streams(flag, value string) (launcher.Streams, error) {
	if value == "" {
		return launcher.Streams{}, nil
	}
	s, err := launcher.ParseStreams(value)
	if err != nil {
		return s, fmt.Errorf("%s %w", flag, err)
	}
	return s, nil
}

func seconds(flag *float64, otherwise time.Duration) time.Duration {
	if flag == nil {
		return otherwise
	}
	return time.Duration(*flag * float64(time.Second))
}

// launch trains with ranks as processes of their own. ended is told how.
func (c *trainCmd) launch(ctx context.Context, a *app, ranks int, ended func(*rdzv.Verdict)) error {
	recipe, err := c.load()
	if err != nil {
		return err
	}
	conf, err := c.config(recipe, ranks, a)
	if err == nil {
		if a.usesGPUs() {
			conf.CPUs = a.cpusNear(ranks)
		}
		conf.OnEnd = ended
		conf.Command, err = c.rankCommand(a)
	}
	if err == nil {
		err = conf.Validate()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	// The end of ctx is the first signal, which asks for a checkpoint; the agent must see that signal, and the next one.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, asks()...)
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if wanted := hubRequests(recipe); len(wanted) > 0 {
		conf.Files = a.files(ctx, wanted)
	}
	return launcher.Run(ctx, conf, signals)
}

// rankCommand is the command line of a rank: this program, with the flags that matter to it.
func (c *trainCmd) rankCommand(a *app) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("this program's path: %w", err)
	}
	command := append([]string{self, "rank"}, a.args()...)
	return append(command, c.recipeFlags.args(c.Recipe)...), nil
}

// args are the global flags for another gorun that is to do the same.
func (g globals) args() []string {
	args := []string{"--device=" + g.Device, "--log-level=" + g.LogLevel}
	if g.Plugin != "" {
		args = append(args, "--plugin="+g.Plugin)
	}
	return args
}
