// Package rank is the trainer: one process, one device. It joins the model's programs, the fsdp state, the data and the
// checkpoints into the step (step.go), and the steps into a run (loop.go). It alone knows both what a decoder is and
// how its parameters are held.
package rank
