// Package metrics tells how a run goes: the step line or, on a terminal, a progress bar, and the records
// of training.jsonl and validation.jsonl, each flushed as it is written.
//
// It owns formats and files. It measures nothing: rank hands in finished numbers, after they were summed
// over all ranks. Rank 0 alone makes a Logger with an Output; where a run resumes, records later than the
// resumed step are cut, so that the files read as if the run had never stopped.
package metrics
