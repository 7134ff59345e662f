package main

type evalCmd struct {
	baseFlags

	Task  string `enum:"squad,perplexity" required:"" help:"squad (exact match and F1) or perplexity."`
	Data  string `placeholder:"PATH" help:"The data: SQuAD's JSON, JSON lines or parquet; text for perplexity. Default: the demo's held-out questions."`
	Limit int    `placeholder:"N" help:"Only the first N samples."`
}
