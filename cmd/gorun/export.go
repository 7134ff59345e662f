package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"gorun/csrc/plugins"
	"gorun/rank"
)

// exportBase names what is exported, and where to.
type exportBase struct {
	modelFlags

	Out string `required:"" placeholder:"FOLDER" help:"Folder to write; it must not exist yet."`
}

type mergeCmd struct {
	exportBase

	DType        string `name:"dtype" enum:"auto,f32,bf16,f16" default:"auto" help:"How weights are stored: f32, bf16 or f16; auto is as the base's are, bf16 for a quantised base."`
	MaxShardSize int64  `default:"5000000000" placeholder:"BYTES" help:"Largest file of weights; a larger model gets several, with an index."`
}

// Run merges.
func (c *mergeCmd) Run(ctx context.Context, a *app) error {
	return c.export(ctx, a, rank.ExportOptions{Format: rank.FormatHF, DType: c.DType, MaxShard: c.MaxShardSize})
}

type exportCmd struct {
	exportBase

	Format       string `required:"" enum:"peft,hf,gguf,vllm" placeholder:"FORMAT" help:"peft (the adapter), hf (merged, a Hugging Face folder), gguf (merged, or with --adapter-only the adapter), vllm (the adapter as vLLM serves it)."`
	AdapterOnly  bool   `help:"With --format gguf: the adapter alone, for llama.cpp's --lora."`
	DType        string `name:"dtype" enum:"auto,f32,bf16,f16,q8_0" default:"auto" help:"How weights are stored: f32, bf16, f16, or with gguf q8_0; auto is as the base's are, bf16 for a quantised base, f32 for an adapter."`
	MaxShardSize *int64 `placeholder:"BYTES" help:"With --format hf: largest file of weights (5000000000)."`
}

// defaultShard is --max-shard-size if it is not given.
const defaultShard = 5_000_000_000

// Run exports.
func (c *exportCmd) Run(ctx context.Context, a *app) error {
	o := rank.ExportOptions{Format: c.Format, DType: c.DType, MaxShard: given(c.MaxShardSize, defaultShard)}
	switch {
	case c.AdapterOnly && c.Format != "gguf":
		return fmt.Errorf("%w: --adapter-only goes with --format gguf", errUsage)
	case c.MaxShardSize != nil && c.Format != "hf":
		return fmt.Errorf("%w: --max-shard-size goes with --format hf: the others are one file", errUsage)
	case c.AdapterOnly:
		o.Format = rank.FormatGGUFAdapter
	}
	return c.export(ctx, a, o)
}

// export opens, writes, verifies and prints.
func (c exportBase) export(ctx context.Context, a *app, o rank.ExportOptions) (err error) {
	if o.MaxShard < 1 {
		return fmt.Errorf("%w: --max-shard-size must be positive", errUsage)
	}
	m, err := c.open(a.resolve(ctx))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.base.Close()) }()
	if _, o.Device, err = a.device(); err != nil {
		return err
	}
	o.Out, o.Version, o.Name = c.Out, gorunVersion(), filepath.Base(strings.TrimRight(c.Out, "/"))
	o.From = rank.Named{Base: c.Base, Adapter: c.Adapter}
	r, err := rank.Export(ctx, m.base, m.adapter, o)
	if err != nil {
		return err
	}
	return c.print(a.stdout, r, m.base)
}

func (c exportBase) print(w io.Writer, r *rank.Report, base *rank.Base) error {
	k := r.Check
	moved := ""
	if c.Adapter != "" {
		moved = fmt.Sprintf("; the adapter moves them by %.2g", k.AdapterEffect)
	}
	_, err := fmt.Fprintf(w, "wrote %s (%s, %s)\nread back: logits off by %.2g (relative; at most %.2g passes), the likeliest token the same at %d of %d positions%s\n",
		c.Out, r.Format, r.DType, k.RelativeError, k.Tolerance, k.SameTop, len(k.Positions), moved)
	if err != nil {
		return err
	}
	switch r.Format {
	case rank.FormatVLLM:
		name := c.Base
		if plugins.IsDemo(c.Base) {
			name = base.Path
		}
		_, err = fmt.Fprintf(w, "serve:  vllm serve %s --enable-lora --max-lora-rank %d --lora-modules %s=%s\n", name, r.MaxLoraRank, filepath.Base(c.Out), c.Out)
	case rank.FormatGGUF:
		_, err = fmt.Fprintf(w, "run:  llama-cli -m %s\n", filepath.Join(c.Out, "model.gguf"))
	case rank.FormatGGUFAdapter:
		_, err = fmt.Fprintf(w, "run:  llama-cli -m BASE.gguf --lora %s\n", filepath.Join(c.Out, "adapter.gguf"))
	case rank.FormatHF:
		_, err = fmt.Fprintf(w, "measure:  lm_eval --model hf --model_args pretrained=%s --tasks hellaswag\n", c.Out)
	}
	return err
}
