package device

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"gorun/csrc"
	"gorun/csrc/kernels"
)

// Source is a program to compile: StableHLO text and what the caller knows of its arguments and results.
type Source struct {
	Name    string            // for errors and profiles
	Code    []byte            // StableHLO text of a module with a main function
	Inputs  []Shape           // main's arguments
	Outputs []Shape           // main's results
	Donated []int             // arguments whose memory the program may reuse (they are marked so in the text)
	Flags   map[string]string // XLA flags for this program alone; booleans are "True" and "False"
	Kernels []kernels.Call    // the kernels of ours that it calls
}

// Program is a compiled Source.
type Program struct {
	client  *Client
	handle  csrc.Executable
	source  Source
	donated []bool
	scratch int64
}

// Compile compiles a program, or loads it from the cache of executables. It may be called from several goroutines.
func (c *Client) Compile(src Source) (*Program, error) {
	if err := c.loadKernels(src.Kernels); err != nil {
		return nil, fmt.Errorf("device: program %s: %w", src.Name, err)
	}
	h, err := c.compile(src, compileOptions(c.flagsOf(src)))
	if err != nil {
		return nil, fmt.Errorf("device: program %s: %w", src.Name, explained(err, c))
	}
	p := &Program{client: c, handle: h, source: src, donated: make([]bool, len(src.Inputs))}
	for _, i := range src.Donated {
		p.donated[i] = true
	}
	if _, _, _, temp, err := c.plugin.ExecutableMemory(h); err == nil { // where it is not told, peaks are too low
		p.scratch = temp
	}
	n, err := c.plugin.NumOutputs(h)
	if err == nil && n != len(src.Outputs) {
		err = fmt.Errorf("has %d results, declared %d", n, len(src.Outputs))
	}
	if err != nil {
		return nil, fmt.Errorf("device: program %s: %w", src.Name, errors.Join(err, p.Close()))
	}
	return p, nil
}

func (c *Client) compile(src Source, options []byte) (csrc.Executable, error) {
	key := c.cache.key(src.Code, options)
	if b, ok := c.cache.get(key); ok {
		if h, err := c.plugin.Deserialize(c.client, b); err == nil {
			return h, nil
		}
		c.cache.drop(key) // written by something else or damaged: compile anew
	}
	h, err := c.plugin.Compile(c.client, src.Code, options)
	if err != nil {
		return h, err
	}
	if c.cache != nil {
		if b, err := c.plugin.Serialize(h); err == nil { // a plugin that cannot serialize only costs the cache
			c.cache.put(key, b)
		}
	}
	return h, nil
}

// Close frees the program.
func (p *Program) Close() error { return p.client.plugin.DestroyExecutable(p.handle) }

// Name is the program's name.
func (p *Program) Name() string { return p.source.Name }

// Outputs are the shapes of the results.
func (p *Program) Outputs() []Shape { return p.source.Outputs }

// Scratch is the memory, in bytes, that one execution needs on the device beside its arguments and results; 0 where the
// plugin does not tell.
func (p *Program) Scratch() int64 { return p.scratch }

// Execute queues one execution and returns its results at once; their contents are still being made. Arguments stay
// the caller's, except donated ones, which are consumed even if the execution later fails.
func (p *Program) Execute(args ...*Buffer) ([]*Buffer, error) {
	if len(args) != len(p.source.Inputs) {
		return nil, fmt.Errorf("device: program %s: %d arguments, needs %d", p.source.Name, len(args), len(p.source.Inputs))
	}
	in := make([]csrc.Buffer, len(args))
	for i, a := range args {
		if a == nil || !a.handle.Valid() {
			return nil, fmt.Errorf("device: program %s: argument %d (%s) has been freed, or is lent, for streams alone", p.source.Name, i, p.source.Inputs[i])
		}
		if !a.shape.Equal(p.source.Inputs[i]) {
			return nil, fmt.Errorf("device: program %s: argument %d is %s, needs %s", p.source.Name, i, a.shape, p.source.Inputs[i])
		}
		in[i] = a.handle
	}
	handles := make([]csrc.Buffer, len(p.source.Outputs))
	if p.client.platform == "cpu" {
		csrc.GrowHeap()
	}
	start := time.Now()
	ended, err := p.client.plugin.Execute(p.handle, in, handles, p.client.observer != nil)
	if err != nil {
		return nil, fmt.Errorf("device: program %s: %w", p.source.Name, explained(err, p.client))
	}
	for i, a := range args {
		if p.donated[i] {
			a.Free()
		}
	}
	out := make([]*Buffer, len(handles))
	for i, h := range handles {
		out[i] = p.client.own(h, p.source.Outputs[i])
	}
	p.client.holds(p.scratch)
	if ended.Valid() {
		if err := p.client.finish(ended, "program "+p.source.Name); err != nil {
			FreeAll(out)
			return nil, err
		}
		p.client.observer(p, time.Since(start))
	}
	return out, nil
}

// compileOptions writes a CompileOptionsProto: one replica, one partition, any device, and the program's own flags.
func compileOptions(flags map[string]string) []byte {
	var build []byte
	build = protowire.AppendTag(build, 1, protowire.VarintType) // device_ordinal: none
	build = protowire.AppendVarint(build, ^uint64(0))
	build = protowire.AppendTag(build, 4, protowire.VarintType) // num_replicas
	build = protowire.AppendVarint(build, 1)
	build = protowire.AppendTag(build, 5, protowire.VarintType) // num_partitions
	build = protowire.AppendVarint(build, 1)

	var b []byte
	b = protowire.AppendTag(b, 3, protowire.BytesType) // executable_build_options
	b = protowire.AppendBytes(b, build)
	for _, name := range sortedKeys(flags) {
		var value, entry []byte
		value = protowire.AppendTag(value, 1, protowire.BytesType) // OptionOverrideProto.string_field
		value = protowire.AppendString(value, flags[name])
		entry = protowire.AppendTag(entry, 1, protowire.BytesType)
		entry = protowire.AppendString(entry, name)
		entry = protowire.AppendTag(entry, 2, protowire.BytesType)
		entry = protowire.AppendBytes(entry, value)
		b = protowire.AppendTag(b, 7, protowire.BytesType) // env_option_overrides
		b = protowire.AppendBytes(b, entry)
	}
	return b
}
