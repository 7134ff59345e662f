package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gorun/csrc/plugins"
	"gorun/model/export"
	"gorun/rank"
)

// modelFlags name a base and an adapter.
type modelFlags struct {
	Base    string `required:"" placeholder:"MODEL" help:"The base: a Hub id (ORG/NAME), a Hugging Face folder, a GGUF file, or a demo model (demo:smollm2-135m)."`
	Adapter string `placeholder:"PATH" help:"Adapter to put on the base: a PEFT folder, such as a checkpoint, a GGUF adapter, or a Hub id."`
}

// baseFlags name a model, for the commands that run one.
type baseFlags struct {
	modelFlags

	DType string `name:"dtype" enum:"auto,f32,bf16" default:"auto" help:"Compute dtype: f32 or bf16; auto is f32 on CPU and bf16 on a GPU."`
}

// opened is an opened base and, if asked for, an adapter.
type opened struct {
	base    *rank.Base
	adapter *export.Adapter
}

// open finds and opens both; the caller closes the base.
func (f modelFlags) open(resolve rank.Resolve) (*opened, error) {
	path, err := resolve(rank.ModelResource, f.Base, "")
	if err != nil {
		return nil, fmt.Errorf("--base: %w", err)
	}
	base, err := rank.OpenBase(path)
	if err != nil {
		return nil, err
	}
	o := &opened{base: base}
	if f.Adapter != "" {
		if path, err = resolve(rank.ModelResource, f.Adapter, ""); err != nil {
			return nil, errors.Join(fmt.Errorf("--adapter: %w", err), base.Close())
		}
		if o.adapter, err = readAdapter(path, base); err != nil {
			return nil, errors.Join(err, base.Close())
		}
	}
	return o, nil
}

// readAdapter reads a PEFT folder or a GGUF adapter.
func readAdapter(path string, base *rank.Base) (*export.Adapter, error) {
	if strings.HasSuffix(path, ".gguf") {
		return export.ReadGGUFAdapter(path, base.Decoder)
	}
	a, err := export.ReadPEFT(path)
	if latest := filepath.Join(path, "LATEST"); errors.Is(err, fs.ErrNotExist) && isThere(latest) {
		return nil, fmt.Errorf("%s is a folder of checkpoints: give one of them, such as %s", path, latest)
	}
	return a, err
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// dtype settles "auto" for a kind of device.
func (f baseFlags) dtype(kind string) string {
	switch {
	case f.DType != "auto":
		return f.DType
	case kind == plugins.CUDA:
		return "bf16"
	}
	return "f32"
}

// session puts an opened model on the device; the caller closes it.
func (f baseFlags) session(a *app, m *opened) (*rank.Session, error) {
	kind, device, err := a.device()
	if err != nil {
		return nil, err
	}
	return rank.OpenSession(device, m.base, f.dtype(kind), m.adapter)
}

// device finds the plugin and the folder of compiled programs.
func (a *app) device() (kind string, d rank.Device, err error) {
	kind, path, err := a.findPlugin()
	if err != nil {
		return "", d, err
	}
	cache, err := plugins.CacheDir()
	if err != nil {
		return "", d, err
	}
	return kind, rank.Device{Plugin: path, CUDA: kind == plugins.CUDA, Cache: filepath.Join(cache, "programs")}, nil
}
