package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"gorun/rank"
)

// rankCmd is one process of a run of several. The launcher starts it; by hand it takes torchrun's variables.
type rankCmd struct {
	recipeFlags
}

// eventsFD is the descriptor on which the launcher reads a rank's progress.
const eventsFD = 3

// errLeft says that an agent and its ranks have ended as they were asked to; rank.ErrStopped says it of one rank.
var errLeft = errors.New("left at the edge of a step")

// Run trains as one rank of the environment's run.
func (c *rankCmd) Run(ctx context.Context, a *app) (err error) {
	hear := deaf()
	defer hear()
	place, err := rank.PlaceFrom(os.Getenv)
	if err != nil {
		return err
	}
	if isPipe(eventsFD) {
		place.Events = os.NewFile(eventsFD, "events")
	}
	log := place.Log(a.stderr)
	defer func() {
		if err != nil && !errors.Is(err, rank.ErrStopped) && place.Failed(err) {
			fmt.Fprintln(log, "gorun:", err)
			err = leftToAgent{err}
		}
	}()
	recipe, err := c.load()
	if err != nil {
		return err
	}
	_, device, err := a.device()
	if err != nil {
		return err
	}
	// Ranks end together: one that left while it tokenises would be missed by the others.
	job, err := a.prepare(context.WithoutCancel(ctx), recipe, place, a.resolve(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, job.Close()) }()
	device.GPU = place.GPU
	if place.Rank == 0 {
		if err := job.Describe(a.stdout); err != nil {
			return err
		}
	}
	return job.Run(ctx, rank.Options{Device: device, Version: gorunVersion(), Command: os.Args, Out: a.stdout, Fault: log})
}

// leftToAgent is an error of a rank that its agent tells the user.
type leftToAgent struct{ error }

func (e leftToAgent) Unwrap() error { return e.error }

// deaf keeps a further request to stop, after the first one, from ending this process before it has done what the first
// asked for: Slurm sends its signals to all processes of a job, and the agents pass theirs on. The function that it
// returns ends that.
func deaf() (hear func()) { return outlive(syscall.SIGTERM, syscall.SIGUSR1) }

// isPipe tells whether a descriptor that we were started with is one to write events to; the runtime's own are not.
func isPipe(fd int) bool {
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		return false
	}
	return s.Mode&unix.S_IFMT == unix.S_IFIFO || s.Mode&unix.S_IFMT == unix.S_IFSOCK
}
