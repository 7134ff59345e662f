package slurm

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

// Step is a job step (what one srun starts) as one of its tasks sees it.
type Step struct {
	Cluster, JobID, StepID string
	Restarts               int // how often the job was queued again

	Nodes    []string // names of the step's nodes; the first is where the nodes meet
	NodeRank int      // this node's place in Nodes

	Task, LocalTask int // this task's number in the step and on its node
	LocalTasks      int // tasks on this node
	GPUs            int // GPUs of the job on this node; 0 = none, or Slurm does not say

	End time.Time // when the job's time is over, as far as is known; zero = not known
}

// FromEnv reads the environment that srun gives to a task. It returns nil outside of a step, as in a batch script
// itself, and an error that names the variable if the environment contradicts itself.
func FromEnv(getenv func(string) string) (*Step, error) {
	if getenv("SLURM_JOB_ID") == "" || getenv("SLURM_STEP_ID") == "" {
		return nil, nil
	}
	r := reader{getenv: getenv}
	s := &Step{
		Cluster: getenv("SLURM_CLUSTER_NAME"), JobID: getenv("SLURM_JOB_ID"), StepID: getenv("SLURM_STEP_ID"),
		Restarts: r.optional("SLURM_RESTART_COUNT"),
		NodeRank: r.number("SLURM_NODEID"), Task: r.number("SLURM_PROCID"), LocalTask: r.number("SLURM_LOCALID"),
		GPUs: r.optional("SLURM_GPUS_ON_NODE"),
	}
	for _, name := range []string{"SLURM_JOB_ID", "SLURM_STEP_ID"} {
		r.number(name) // they go into names and commands
	}
	if parts := r.optional("SLURM_HET_SIZE"); parts > 1 {
		r.fault("SLURM_HET_SIZE", fmt.Errorf("a heterogeneous job of %d parts: gorun needs all nodes in one part, as 'sbatch --nodes=N' gives", parts))
	}
	if end := r.optional("SLURM_JOB_END_TIME"); end > 0 {
		s.End = time.Unix(int64(end), 0)
	}
	s.place(&r)
	return s, errors.Join(r.faults...)
}

// place reads which nodes there are, and how many tasks are on this one.
func (s *Step) place(r *reader) {
	list, name := r.first("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
	nodes, err := ParseHostlist(list)
	if err != nil {
		r.fault(name, err)
		return
	}
	s.Nodes = nodes
	count, name := r.first("SLURM_STEP_NUM_NODES", "SLURM_NNODES")
	if count != strconv.Itoa(len(nodes)) {
		r.fault(name, fmt.Errorf("%q nodes, but the list of nodes has %d", count, len(nodes)))
	}
	if s.NodeRank >= len(nodes) {
		r.fault("SLURM_NODEID", fmt.Errorf("%d, but there are nodes 0 to %d", s.NodeRank, len(nodes)-1))
		return
	}
	tasks, name := r.first("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE")
	counts, err := parseCounts(tasks, len(nodes))
	if err != nil {
		r.fault(name, err)
		return
	}
	if slices.Contains(counts, 0) {
		r.fault(name, fmt.Errorf("%q: a node without a task has no agent: use --ntasks-per-node", tasks))
	}
	if s.LocalTasks = counts[s.NodeRank]; s.LocalTask >= s.LocalTasks {
		r.fault("SLURM_LOCALID", fmt.Errorf("%d, but this node has tasks 0 to %d", s.LocalTask, s.LocalTasks-1))
	}
}

// Node is the name of this node in the cluster.
func (s *Step) Node() string { return s.Nodes[s.NodeRank] }

// ID names this start of the step: another one, after a requeue or beside it in the job, has another name. All tasks
// have the same.
func (s *Step) ID() string {
	return fmt.Sprintf("slurm-%s.%s-%d", s.JobID, s.StepID, s.Restarts)
}

// Ports of the places where the nodes of a step meet: below those that systems give out by themselves, above Slurm's own.
const (
	firstPort = 15000
	ports     = 15000
)

// Endpoint is where the step's nodes meet: HOST:PORT on the first node. The port follows from the job, so that jobs which
// share a node are unlikely to share a port, and all tasks know it.
func (s *Step) Endpoint() string {
	job, _ := strconv.ParseUint(s.JobID, 10, 64) // FromEnv has read them
	step, _ := strconv.ParseUint(s.StepID, 10, 64)
	port := firstPort + (job%ports+97*(step%ports)+uint64(s.Restarts))%ports
	return net.JoinHostPort(s.Nodes[0], strconv.FormatUint(port, 10))
}

// reader reads an environment and keeps all faults.
type reader struct {
	getenv func(string) string
	faults []error
}

func (r *reader) fault(name string, err error) {
	r.faults = append(r.faults, fmt.Errorf("slurm: %s: %w", name, err))
}

// number reads a variable that srun always sets.
func (r *reader) number(name string) int {
	text := r.getenv(name)
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		r.fault(name, fmt.Errorf("%q is no number: gorun reads what srun sets; start it with srun, or unset SLURM_STEP_ID to start without Slurm", short(text)))
		return 0
	}
	return n
}

// optional reads a variable that may be missing; then it is 0.
func (r *reader) optional(name string) int {
	if r.getenv(name) == "" {
		return 0
	}
	return r.number(name)
}

// first returns the first variable that is set, and its name.
func (r *reader) first(names ...string) (value, name string) {
	for _, name = range names {
		if value = r.getenv(name); value != "" {
			return value, name
		}
	}
	return "", names[0]
}
