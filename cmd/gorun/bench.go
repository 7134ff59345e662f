package main

type benchCmd struct {
	Base      string `default:"demo:smollm2-135m" placeholder:"MODEL" help:"The model to train."`
	BatchSize int    `default:"4" placeholder:"N" help:"Samples in a micro-batch."`
	SeqLength int    `default:"256" placeholder:"N" help:"Tokens of a sample."`
	Steps     int    `default:"10" placeholder:"N" help:"Steps to measure, after the warm-up."`
	Warmup    int    `default:"3" placeholder:"N" help:"Steps before measuring."`
}
