// Package slurm is what gorun knows of the Slurm workload manager: where a process stands in its job step (step.go,
// hostlist.go, counts.go), the key that the nodes of a job share (key.go), tasks that stand by while their node's agent
// works (standby.go), how a job asks to be queued again (requeue.go), and batch scripts (script.go). It starts no rank
// and knows no recipe. cmd/gorun calls it; DESIGN.md has the reasons.
package slurm
