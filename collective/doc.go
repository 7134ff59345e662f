// Package collective knows the mesh of ranks and moves and reduces device buffers among them. It knows buffers, not what
// is in them; fsdp decides what is gathered and when, and rank says which ranks there are.
//
// A Mesh places the ranks on a grid of axes. A Comm is the ranks of one axis, or of several taken together:
//
//   - Solo, an axis of one rank, moves nothing.
//   - Host, for CPU ranks, runs ring algorithms on the buffers' own memory. Its messages go over TCP between processes
//     (Job.Comm) or from goroutine to goroutine (Loopback, for tests).
//   - NCCL, for NVIDIA GPUs, queues collectives on the devices (Fabric.Comm).
//
// A Job joins the processes of a run: it proves that they hold the same key, passes small values around (Exchange),
// and makes one rank's failure everybody's, with its cause. Nothing in this package waits for a rank that is gone: a
// connection that breaks, a collective that takes too long or a cancelled context ends the job on every rank, and NCCL's
// communicators with it.
//
// Sums are taken in an order that depends only on the number of ranks, so the same mesh twice gives the same bits, and
// all ranks hold the same bits after an all-reduce. DESIGN.md tells why it is built so.
package collective
