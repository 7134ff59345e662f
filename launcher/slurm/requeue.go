package slurm

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// commandTime is how long Slurm's controller may take to answer: it is busy at times.
const commandTime = 30 * time.Second

// Job is what Slurm's controller says of a job.
type Job struct {
	Batch     bool // it has a script, so that it can be queued again
	Running   bool // nobody has cancelled it, and its time is not over
	Preempted bool // it is being ended to make room for another
}

// Job asks the controller.
func (s *Step) Job(ctx context.Context) (Job, error) {
	out, err := command(ctx, "scontrol", "--oneliner", "show", "job", s.JobID)
	if err != nil {
		return Job{}, err
	}
	return parseJob(out), nil
}

// parseJob reads what 'scontrol --oneliner show job' prints: words NAME=VALUE.
func parseJob(line string) Job {
	var j Job
	for word := range strings.FieldsSeq(line) {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "BatchFlag":
			j.Batch = value != "0"
		case "JobState":
			j.Running = value == "RUNNING"
		case "PreemptTime":
			j.Preempted = value != "None" && value != "Unknown"
		}
	}
	return j
}

// Requeue puts the step's job into the queue again: it starts anew, with the same number and one more in
// SLURM_RESTART_COUNT. Slurm ends what still runs of it, this process too.
func (s *Step) Requeue(ctx context.Context) error {
	_, err := command(ctx, "scontrol", "requeue", s.JobID)
	return err
}

// Submit hands a script to Slurm and returns the job's number.
func Submit(ctx context.Context, path string) (string, error) {
	out, err := command(ctx, "sbatch", "--parsable", path)
	if err != nil {
		return "", err
	}
	id, _, _ := strings.Cut(strings.TrimSpace(out), ";") // and the cluster's name
	return id, nil
}

// command runs one of Slurm's programs and returns what it prints; its complaint is in the error.
func command(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second // for what a wrapper of the program has started and leaves behind
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer of Slurm's controller: %w: %w", ctx.Err(), err)
	}
	return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
}
