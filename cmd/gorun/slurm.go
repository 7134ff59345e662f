package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"gorun/configs"
	"gorun/csrc/plugins"
	"gorun/launcher/rdzv"
	"gorun/launcher/slurm"
)

// standbyWait is how long a node's tasks may begin after one another.
const standbyWait = time.Minute

// underSlurm returns this process's place in the step of a Slurm job, nil outside of one, and fills in the launch flags
// that were not given with what Slurm says.
func (f *launchFlags) underSlurm(a *app) (*slurm.Step, error) {
	step, err := slurm.FromEnv(os.Getenv)
	if err != nil || step == nil {
		return nil, err
	}
	if !f.Standalone {
		if err := f.slurmNodes(step); err != nil {
			return nil, err
		}
	}
	return step, f.slurmRanks(a, step)
}

// slurmNodes fills in how the step's nodes meet. What the user says of it stands, but for another number of nodes.
func (f *nodeFlags) slurmNodes(step *slurm.Step) error {
	nodes := strconv.Itoa(len(step.Nodes))
	if f.Nnodes != "1" && f.Nnodes != nodes {
		return fmt.Errorf("%w: --nnodes %s: this step of job %s has %s nodes: leave --nnodes away", errUsage, f.Nnodes, step.JobID, nodes)
	}
	f.Nnodes = nodes
	if f.RdzvID == "" {
		f.RdzvID = step.ID()
	}
	if f.oneNode() {
		return nil
	}
	if f.NodeRank == nil {
		f.NodeRank = &step.NodeRank
	}
	if f.RdzvEndpoint == "" && f.MasterAddr == "" {
		f.RdzvEndpoint = step.Endpoint()
		if f.LocalAddr == "" {
			f.LocalAddr = step.Address()
		}
	}
	if f.KeyFile != "" || os.Getenv("GORUN_JOB_KEY") != "" {
		return nil
	}
	path, err := slurm.SecretPath()
	if err == nil {
		f.key, err = step.Key(path)
	}
	if err != nil {
		return fmt.Errorf("%w (or give the nodes a key of their own by --key-file or GORUN_JOB_KEY)", err)
	}
	return nil
}

// slurmRanks fills in --gpus: one rank for each task of this node if it has several, else for each GPU of the job.
func (f *launchFlags) slurmRanks(a *app, step *slurm.Step) error {
	tasks := strconv.Itoa(step.LocalTasks)
	switch {
	case f.Gpus == "" && step.LocalTasks > 1:
		f.Gpus = tasks
	case f.Gpus == "" && step.GPUs > 0 && a.deviceKind() == plugins.CUDA:
		f.Gpus = strconv.Itoa(step.GPUs)
	case f.Gpus != "" && step.LocalTasks > 1 && f.Gpus != tasks:
		return fmt.Errorf("%w: --gpus %s: Slurm started %s tasks on node %s: leave --gpus away, or start one task a node (srun --ntasks-per-node=1)", errUsage, f.Gpus, tasks, step.Node())
	}
	return nil
}

// runStep trains as a task of a Slurm step: a node's task 0 is its agent, and its other tasks wait for that one's end.
func (c *trainCmd) runStep(ctx context.Context, a *app, step *slurm.Step) error {
	hear := deaf()
	defer hear()
	if step.LocalTask > 0 {
		return step.StandBy(context.WithoutCancel(ctx), standbyWait)
	}
	recipe, err := c.load()
	if err != nil {
		return err
	}
	warned := make(chan os.Signal, 1)
	signal.Notify(warned, syscall.SIGUSR1)
	defer signal.Stop(warned)
	agent, err := step.Lead()
	if err != nil {
		return err
	}
	defer agent.Close() //nolint:errcheck // this process ends
	ranks, err := c.ranks(a)
	if err != nil {
		return err
	}
	a.log.Info().Msg(describeStep(step, ranks))
	stopped := false
	err = c.launch(ctx, a, ranks, func(v *rdzv.Verdict) { stopped = v.Stopped })
	if ctx.Err() != nil && errors.Is(err, context.Canceled) { // the signal came before there were ranks
		stopped, err = true, nil
	}
	if err != nil || !stopped {
		return err
	}
	if step.Task > 0 {
		return errLeft
	}
	return goOn(context.WithoutCancel(ctx), a, step, recipe.Checkpoint, len(warned) > 0)
}

func describeStep(step *slurm.Step, ranks int) string {
	text := fmt.Sprintf("Slurm job %s, turn %d: node %s (%d of %d), ranks here: %d", step.JobID, step.Restarts+1, step.Node(), step.NodeRank+1, len(step.Nodes), ranks)
	if !step.End.IsZero() {
		text += ", until " + step.End.Format(time.DateTime)
	}
	return text
}

// goOn queues the job again after it has stopped early with a checkpoint: if it was warned that its time is nearly over
// (SIGUSR1), or has to make room for another one, but not if somebody cancelled it, nor if its next turn would not go on
// from there.
func goOn(ctx context.Context, a *app, step *slurm.Step, k configs.Checkpoint, warned bool) error {
	job, err := step.Job(ctx)
	switch {
	case err != nil:
	case !job.Running || !warned && !job.Preempted:
		return errLeft
	case !job.Batch:
		a.log.Info().Msgf("job %s has no batch script, so it can't be queued again: start it anew, and it goes on from its checkpoint", step.JobID)
		return errLeft
	case !k.GoesOn():
		a.log.Warn().Msgf("job %s is not queued again: its next turn would not go on from a checkpoint of this one, as the recipe has checkpoint.enabled = %v and resume = %q", step.JobID, k.Enabled, k.Resume)
		return errLeft
	default:
		a.log.Info().Msgf("job %s is queued again, and goes on from its last checkpoint", step.JobID)
		if err = step.Requeue(ctx); err == nil {
			return errLeft
		}
	}
	return fmt.Errorf("the checkpoint is saved, but the job was not queued again: submit it anew, and it goes on from there: %w", err)
}
