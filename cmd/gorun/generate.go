package main

type generateCmd struct {
	baseFlags

	Prompt      string  `default:"-" placeholder:"TEXT" help:"The prompt; - reads standard input."`
	MaxTokens   int     `default:"128" placeholder:"N" help:"Most tokens to write."`
	Temperature float64 `default:"0" placeholder:"T" help:"0 is greedy; 1 samples from the model's own probabilities."`
	TopK        int     `default:"0" placeholder:"K" help:"Sample from the K likeliest tokens; 0 is all."`
	TopP        float64 `default:"1" placeholder:"P" help:"Sample from the likeliest tokens whose probabilities sum to P."`
	Seed        uint64  `default:"1111" placeholder:"N" help:"Seed of the sampling."`
	Stream      bool    `default:"true" negatable:"" help:"Print tokens as they come. --no-stream prints all at the end."`
	JSON        bool    `name:"json" help:"Print one JSON object instead of the text."`
	Logprobs    int     `placeholder:"N" help:"With --json: log-probabilities of the N likeliest tokens at each position."`
}
