package device

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"gorun/csrc"
	"gorun/csrc/kernels"
)

// kernelMaker makes the kernels that programs call: on CUDA by NVRTC, for the client's GPU; elsewhere as the client's
// configuration says, or not at all.
type kernelMaker struct {
	emulate func(kernels.Call) (library string, err error)

	mu    sync.Mutex // protects all below
	ready bool       // nvrtc and arch are what they stay
	nvrtc csrc.NVRTC
	arch  int
	made  map[int64]func() error // makes a kernel once, for all programs that call it
}

// KernelsRefused says why programs cannot call kernels on this device; nil if they can.
func (c *Client) KernelsRefused() error {
	c.kernels.mu.Lock()
	defer c.kernels.mu.Unlock()
	return c.openKernels()
}

// openKernels finds out once what kernels are made with. The lock is held.
func (c *Client) openKernels() error {
	k := &c.kernels
	if k.ready {
		return nil
	}
	if c.platform != "cuda" {
		if k.emulate == nil {
			return fmt.Errorf("kernels are for NVIDIA GPUs, not for %s", c.platform)
		}
	} else if err := k.openCUDA(c.path, c.ordinal); err != nil {
		return err
	}
	if err := c.plugin.RegisterKernels(c.platform); err != nil {
		return err
	}
	k.ready = true
	return nil
}

func (k *kernelMaker) openCUDA(plugin string, gpu int) error {
	var err error
	if k.arch, err = csrc.CUDAArch(gpu); err != nil {
		return err
	}
	if k.arch < 80 {
		return fmt.Errorf("kernels are for GPUs of compute capability 8.0 and later, not %.1f", float64(k.arch)/10)
	}
	var errs []error
	for _, path := range nvrtcPaths(plugin) {
		if k.nvrtc, err = csrc.OpenNVRTC(path); err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("kernels need NVIDIA's NVRTC, which 'gorun setup --cuda' installs: %w", errors.Join(errs...))
}

// nvrtcPaths are where NVRTC may be: beside the plugin, as its packages lay it (the newest first), or where the system
// looks.
func nvrtcPaths(plugin string) []string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(plugin), "../../nvidia/*/lib/libnvrtc.so.*"))
	if err != nil {
		found = nil // the plugin's own path is no pattern
	}
	slices.Sort(found)
	slices.Reverse(found)
	return append(found, "libnvrtc.so.13", "libnvrtc.so.12")
}

// loadKernels makes the kernels of a program ready, in parallel.
func (c *Client) loadKernels(calls []kernels.Call) error {
	if len(calls) == 0 {
		return nil
	}
	wanted, err := c.wanted(calls)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, kernel := range wanted {
		g.Go(kernel)
	}
	return g.Wait()
}

// wanted lists what makes the kernels.
func (c *Client) wanted(calls []kernels.Call) ([]func() error, error) {
	k := &c.kernels
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := c.openKernels(); err != nil {
		return nil, err
	}
	if k.made == nil {
		k.made = map[int64]func() error{}
	}
	wanted := make([]func() error, len(calls))
	for i, call := range calls {
		id := call.ID()
		if k.made[id] == nil {
			k.made[id] = sync.OnceValue(func() error { return c.loadKernel(call) })
		}
		wanted[i] = k.made[id]
	}
	return wanted, nil
}

func (c *Client) loadKernel(call kernels.Call) error {
	k := &c.kernels
	if csrc.KernelKnown(call.ID()) { // another client of the process has it
		return nil
	}
	if c.platform != "cuda" {
		library, err := k.emulate(call)
		if err != nil {
			return fmt.Errorf("kernel %s: %w", call.Name, err)
		}
		return csrc.EmulateKernel(library, call.ID())
	}
	options := append(kernels.Options(), "--gpu-architecture=sm_"+strconv.Itoa(k.arch))
	key := c.cache.key([]byte(call.Source()), []byte(fmt.Sprint("nvrtc ", k.nvrtc, options)))
	launch := csrc.Launch{ID: call.ID(), Grid: call.Grid, Threads: call.Threads, Shared: call.Shared}
	if cubin, ok := c.cache.get(key); ok {
		if csrc.LoadKernel(c.ordinal, cubin, call.Name, launch) == nil {
			return nil
		}
		c.cache.drop(key) // written by something else or damaged: compile anew
	}
	cubin, err := k.nvrtc.Compile(call.Source(), call.Name, options)
	if err != nil {
		return fmt.Errorf("%w: model.kernels = \"none\" goes without", err)
	}
	if c.cache != nil {
		c.cache.put(key, cubin)
	}
	return csrc.LoadKernel(c.ordinal, cubin, call.Name, launch)
}
