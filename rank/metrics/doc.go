// Package metrics tells how a run goes: the step line or, on a terminal, a progress bar; the records of
// training.jsonl, validation.jsonl and samples.jsonl; TensorBoard's event files; an offline run of Weights & Biases;
// and an endpoint for Prometheus. Files are written as records come, without a buffer.
//
// It owns formats and files. It measures nothing: rank hands in finished numbers, after they were summed
// over all ranks. Rank 0 alone makes a Logger with an Output; where a run resumes, records later than the
// resumed step are cut, so that the files read as if the run had never stopped.
package metrics
