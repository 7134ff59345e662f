// Package fsdp holds parameters, their gradients and the optimizer's moments, and decides when a group of parameters
// is whole: unshard, prefetch, reshard, reduce-scatter, in the words of PyTorch's FSDP2. It knows groups and shapes,
// not what they compute; model supplies the maths and rank writes the schedule.
//
// A Pass is one optimizer step. It keeps the first error, as bufio.Writer does: after it every method does nothing and
// Finish returns it.
package fsdp
