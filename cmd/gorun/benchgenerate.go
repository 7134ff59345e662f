package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"gorun/configs"
	"gorun/rank"
)

type benchGenerateCmd struct {
	Base   string `default:"demo:smollm2-135m" placeholder:"MODEL" help:"The model: a Hub id, a folder, a GGUF file, or random weights of a known shape, as for bench."`
	DType  string `name:"dtype" enum:"auto,f32,bf16" default:"auto" help:"Compute dtype: f32 or bf16; auto is f32 on CPU and bf16 on a GPU."`
	Rows   int    `default:"1" placeholder:"N" help:"Texts that are continued together."`
	Prompt int    `default:"512" placeholder:"N" help:"Tokens of each prompt."`
	Tokens int    `default:"128" placeholder:"N" help:"Tokens to make of each text."`
	JSON   bool   `name:"json" help:"Print one JSON object."`
}

// Run measures greedy generation from random prompts.
func (c *benchGenerateCmd) Run(ctx context.Context, a *app) error {
	if c.Rows < 1 || c.Prompt < 1 || c.Tokens < 2 {
		return fmt.Errorf("%w: --rows and --prompt must be at least 1, --tokens 2", errUsage)
	}
	kind, device, err := a.device()
	if err != nil {
		return err
	}
	path := c.Base
	if !strings.HasPrefix(path, configs.MockPrefix) {
		if path, err = a.resolve(ctx)(rank.ModelResource, path, ""); err != nil {
			return fmt.Errorf("--base: %w", err)
		}
	}
	dtype := baseFlags{DType: c.DType}.dtype(kind)
	r, err := rank.BenchGenerate(ctx, device, path, dtype, c.Rows, c.Prompt, c.Tokens)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(a.stdout).Encode(struct {
			Base string `json:"base"`
			*rank.GenerateSpeed
			DType   string `json:"dtype"`
			Rows    int    `json:"rows"`
			Prompt  int    `json:"prompt"`
			Tokens  int    `json:"tokens"`
			Version string `json:"version"`
		}{c.Base, r, dtype, c.Rows, c.Prompt, c.Tokens, gorunVersion()})
	}
	fmt.Fprintf(a.stdout, "%s, %d x %d prompt tokens, %d more each, greedy, %s, %s\n", c.Base, c.Rows, c.Prompt, c.Tokens, dtype, r.Kind)
	fmt.Fprintf(a.stdout, "prefill %.0f tok/s (first token after %.1f ms) | decode %.1f tok/s (%.2f ms a token, weights read at %.0f GB/s) | open %.1f s | device %.2f GiB\n",
		r.PrefillS, 1e3*r.Prefill, r.DecodeS, 1e3*r.Token, float64(r.Weights)/r.Token/1e9, r.Open, r.MemGiB)
	return nil
}
