package main

import (
	"context"
	"fmt"

	"gorun/csrc/plugins"
)

type setupCmd struct {
	CUDA bool `name:"cuda" help:"Also XLA's CUDA 13 plugin and the NVIDIA libraries that it needs (about 2 GiB to download)."`
	Demo bool `help:"Also the demo's model, SmolLM2-135M-Instruct (89 MiB)."`
}

// Run installs, and prints a line "NAME<tab>PATH" for each thing that is then there. Progress goes to standard error.
func (c *setupCmd) Run(ctx context.Context, a *app) error {
	names := []string{plugins.CPU}
	if c.CUDA {
		names = append(names, plugins.CUDA)
	}
	if c.Demo {
		names = append(names, plugins.DemoModel)
	}
	if err := plugins.Install(ctx, names, a.stderr); err != nil {
		return err
	}
	for _, name := range names {
		path, err := plugins.Installed(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s\t%s\n", name, path)
	}
	return nil
}
