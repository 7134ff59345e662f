package main

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"gorun/csrc/plugins"
)

// version is set by the linker (see the Makefile).
var version string

type versionCmd struct{}

// Run prints one fact a line. A plugin that is missing or does not load is a fact too, not a failure.
func (versionCmd) Run(a *app) error {
	fmt.Fprintf(a.stdout, "gorun %s\n%s %s/%s\n", gorunVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, kind := range []string{plugins.CPU, plugins.CUDA} {
		fmt.Fprintf(a.stdout, "XLA plugin for %s: %s\n", kind, describePlugin(kind))
	}
	kind, path, err := a.findPlugin()
	if err != nil {
		fmt.Fprintf(a.stdout, "runs on: nothing (%v)\n", err)
		return nil
	}
	fmt.Fprintf(a.stdout, "runs on: %s by %s\n", kind, path)
	return nil
}

// gorunVersion is the linker's version, else the module's, with the commit if the build knows it.
func gorunVersion() string {
	v := version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v == "" {
		v = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}

func describePlugin(kind string) string {
	path, err := plugins.Find(kind)
	if errors.Is(err, plugins.ErrMissing) {
		return "not installed: run '" + plugins.SetupCommand(kind) + "'"
	}
	if err != nil {
		return err.Error()
	}
	v, err := pluginVersion(path)
	if err != nil {
		return err.Error()
	}
	return v + ", " + path
}
