// Package data turns files into micro-batches: it reads data sets, writes prompts, decides which tokens are trained
// on, orders samples and prefetches padded batches. The order is a function of seed, epoch and global index alone, so
// every number of ranks sees the same samples in the same steps, and a run resumes at any step.
//
// From file to step: split.go finds the files of a split, open.go unpacks them, record.go, json.go and parquet.go make
// records of every format alike; squad.go and text.go make samples of records, dataset.go does so on all cores by the
// recipe's rules, into the file that tokens.go describes; cache.go keeps it; sampler.go deals samples out, batch.go pads
// them, loader.go works ahead.
//
// It knows token ids and text, nothing of devices. rank calls it.
package data
