// Package data turns files into micro-batches: it reads data sets, writes prompts, decides which tokens are trained
// on, orders samples and prefetches padded batches. The order is a function of seed, epoch and global index alone, so
// every number of ranks sees the same samples in the same steps, and a run resumes at any step.
//
// It knows token ids and text, nothing of devices. rank calls it.
package data
