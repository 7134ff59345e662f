package device

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"gorun/csrc"
	"gorun/csrc/kernels"
)

// Config says which plugin to load and how to use its device.
type Config struct {
	Plugin         string  // path of the PJRT plugin
	Index          int     // which of the plugin's devices
	CUDA           bool    // the plugin is XLA's for CUDA
	MemoryFraction float32 // CUDA: share of device memory that the allocator may take; 0 = 0.92
	CacheDir       string  // folder of compiled executables; "" = no cache

	Flags map[string]string // XLA flags that every program is compiled with, besides its own

	// Emulate compiles a kernel for the CPU and returns the library's path: on platforms other than CUDA, programs can
	// call kernels only with it. Tests have one.
	Emulate func(kernels.Call) (library string, err error)
}

// Client is one device of one plugin. Its methods may be called from several goroutines.
type Client struct {
	plugin   *csrc.Plugin
	client   csrc.Client
	device   csrc.Device
	ordinal  int // CUDA: the device's number, as CUDA_VISIBLE_DEVICES counts
	platform string
	version  string
	kind     string
	flags    map[string]string // XLA flags that every program is compiled with
	cache    *cache
	live     atomic.Int64
	liveSize atomic.Int64
	peakSize atomic.Int64
	lent     atomic.Int64 // bytes of buffers that are not XLA's
	observer func(p *Program, took time.Duration)
	path     string // of the plugin
	kernels  kernelMaker
}

// Open loads the plugin and creates a client on one of its devices.
func Open(cfg Config) (*Client, error) {
	if cfg.Plugin == "" {
		return nil, errors.New("device: no XLA plugin named: run 'gorun setup', or set PJRT_PLUGIN_LIBRARY_PATH")
	}
	info, err := os.Stat(cfg.Plugin)
	if err != nil {
		return nil, fmt.Errorf("device: XLA plugin: %w: run 'gorun setup', or set PJRT_PLUGIN_LIBRARY_PATH", err)
	}
	if os.Getenv("TF_CPP_MIN_LOG_LEVEL") == "" {
		// XLA's C++ log would mix with the step lines; its errors reach us as values.
		if err := os.Setenv("TF_CPP_MIN_LOG_LEVEL", "2"); err != nil {
			return nil, fmt.Errorf("device: %w", err)
		}
	}
	c := &Client{flags: cfg.Flags, ordinal: cfg.Index, path: cfg.Plugin, kernels: kernelMaker{emulate: cfg.Emulate}}
	if c.plugin, err = csrc.LoadPlugin(cfg.Plugin); err != nil {
		return nil, fmt.Errorf("device: %w", explained(err, nil))
	}
	if !cfg.CUDA {
		csrc.KeepHeap()
	}
	if c.client, err = c.plugin.NewClient(cfg.options()); err != nil {
		return nil, fmt.Errorf("device: %w", explained(err, nil))
	}
	if err := c.describe(cfg); err != nil {
		return nil, fmt.Errorf("device: %w", errors.Join(err, c.plugin.DestroyClient(c.client)))
	}
	if cfg.CacheDir != "" {
		c.cache = newCache(cfg.CacheDir, fmt.Sprintf("%s %s %d %d %q %s", c.version, c.kind, info.Size(), info.ModTime().UnixNano(), os.Getenv("XLA_FLAGS"), hostFeatures()))
	}
	return c, nil
}

// options are the client's own: on CUDA XLA's pooling allocator, which takes memory as it is needed. The platform's own
// allocator is 4 to 5 times slower (H200).
func (c Config) options() []csrc.Option {
	if !c.CUDA {
		return nil
	}
	fraction := c.MemoryFraction
	if fraction == 0 {
		fraction = 0.92
	}
	return []csrc.Option{
		{Name: "allocator", Value: "bfc"},
		{Name: "preallocate", Value: false},
		{Name: "memory_fraction", Value: fraction},
		{Name: "visible_devices", Value: []int64{int64(c.Index)}},
	}
}

func (c *Client) describe(cfg Config) error {
	var err error
	if c.platform, c.version, err = c.plugin.Platform(c.client); err != nil {
		return err
	}
	devices, err := c.plugin.Devices(c.client)
	if err != nil {
		return err
	}
	index := cfg.Index
	if cfg.CUDA {
		index = 0 // the only visible one
	}
	if index < 0 || index >= len(devices) {
		return fmt.Errorf("device %d asked for, but %s has %d", cfg.Index, c.platform, len(devices))
	}
	c.device = devices[index]
	c.kind, err = c.plugin.DeviceKind(c.device)
	return err
}

// flagsOf are the XLA flags that a program is compiled with: the platform's, its own, and the client's. On CUDA, products
// go to cuBLAS alone: XLA's own Triton kernels for them, which it takes for the low-rank products of adapters, hide from
// it that those can be added to the base's result in place, and searching them costs half of the compile time (H100, 8B:
// 15,020 against 14,480 tokens a second, first step after 13 s against 20 s).
func (c *Client) flagsOf(src Source) map[string]string {
	flags := map[string]string{}
	if c.platform == "cuda" {
		flags["xla_gpu_enable_triton_gemm"] = "False"
	}
	maps.Copy(flags, src.Flags)
	maps.Copy(flags, c.flags)
	return flags
}

// Observe makes every later execution last until its results are there and tells f how long that took; nil ends it. It is
// for measuring programs one by one: nothing runs ahead meanwhile. No execution may be under way.
func (c *Client) Observe(f func(p *Program, took time.Duration)) { c.observer = f }

// Close ends the client. Buffers and programs must have been freed.
func (c *Client) Close() error { return c.plugin.DestroyClient(c.client) }

// RegisterCopy makes the custom call csrc.CopyTarget known to programs on the CPU.
func (c *Client) RegisterCopy() error { return c.plugin.RegisterCopy() }

// Platform is "cpu" or "cuda".
func (c *Client) Platform() string { return c.platform }

// Kind is the device's model name.
func (c *Client) Kind() string { return c.kind }

// Version is the plugin's own version text and its PJRT API version.
func (c *Client) Version() string {
	major, minor := c.plugin.Version()
	return fmt.Sprintf("%s, PJRT %d.%d", c.version, major, minor)
}

// LiveBuffers is the number of buffers that nobody has freed yet; tests assert that it returns to its start.
func (c *Client) LiveBuffers() int64 { return c.live.Load() }

// Memory is what a device holds, in bytes.
type Memory struct {
	InUse int64 // now
	Peak  int64 // highest since the client was opened
	Limit int64 // what the allocator may take; 0 = not known
}

// Memory returns what the device allocator counts or, on a platform that counts nothing (CPU), the bytes of live buffers.
// XLA's allocator for CUDA counts scratch memory of programs too, and what it has been given back while the device still uses
// it: on an H100 its peaks are 2 to 6 % above live buffers and scratch. The peak is at least the most that live buffers and the
// scratch of a program that was queued with them came to.
func (c *Client) Memory() Memory {
	inUse, peak, limit, err := c.plugin.DeviceMemory(c.device)
	if err != nil {
		inUse = c.liveSize.Load()
	} else {
		inUse += c.lent.Load()
	}
	return Memory{InUse: inUse, Peak: max(peak, c.peakSize.Load()), Limit: limit}
}

func (c *Client) created(bytes int64) {
	c.live.Add(1)
	c.liveSize.Add(bytes)
	c.holds(0)
}

// holds takes note of a moment: live buffers, and so many bytes of scratch.
func (c *Client) holds(scratch int64) {
	now := c.liveSize.Load() + scratch
	for {
		peak := c.peakSize.Load()
		if now <= peak || c.peakSize.CompareAndSwap(peak, now) {
			return
		}
	}
}

func (c *Client) freed(bytes int64) {
	c.live.Add(-1)
	c.liveSize.Add(-bytes)
}
