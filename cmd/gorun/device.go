package main

import (
	"errors"
	"os"

	"gorun/csrc/plugins"
)

// nvidiaDriver exists where NVIDIA's kernel driver is loaded.
const nvidiaDriver = "/dev/nvidiactl"

// findPlugin returns the kind of device that --device asks for and the plugin for it. auto takes a GPU if there is one
// and its plugin is installed, and says so if it could but for the plugin.
func (a *app) findPlugin() (kind, path string, err error) {
	kind = a.Device
	if kind == "auto" {
		kind = plugins.CPU
		if _, err := os.Stat(nvidiaDriver); err == nil {
			kind = plugins.CUDA
		}
	}
	path, err = plugins.Find(kind, plugins.At(a.Plugin))
	if a.Device == "auto" && kind == plugins.CUDA && errors.Is(err, plugins.ErrMissing) {
		a.log.Warn().Msg("there is an NVIDIA GPU but no CUDA plugin, so this runs on the CPU: for the GPU run 'gorun setup --cuda'")
		kind = plugins.CPU
		path, err = plugins.Find(kind)
	}
	return kind, path, err
}
