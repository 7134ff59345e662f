package main

import (
	"errors"
	"os"

	"gorun/csrc/plugins"
)

// nvidiaDriver exists where NVIDIA's kernel driver is loaded.
const nvidiaDriver = "/dev/nvidiactl"

// deviceKind is the kind of device that --device asks for; auto is a GPU if there is one.
func (a *app) deviceKind() string {
	if a.Device != "auto" {
		return a.Device
	}
	if _, err := os.Stat(nvidiaDriver); err == nil {
		return plugins.CUDA
	}
	return plugins.CPU
}

// findPlugin returns the kind of device that --device asks for and the plugin for it. auto takes a GPU if there is one
// and its plugin is installed, and says so if it could but for the plugin.
func (a *app) findPlugin() (kind, path string, err error) {
	kind = a.deviceKind()
	path, err = plugins.Find(kind, plugins.At(a.Plugin))
	if a.Device == "auto" && kind == plugins.CUDA && errors.Is(err, plugins.ErrMissing) {
		a.log.Warn().Msg("there is an NVIDIA GPU but no CUDA plugin, so this runs on the CPU: for the GPU run 'gorun setup --cuda'")
		kind = plugins.CPU
		path, err = plugins.Find(kind)
	}
	return kind, path, err
}
