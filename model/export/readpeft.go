package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"

	"gorun/model/safetensors"
)

// ReadPEFT reads an adapter folder written by PEFT or by WritePEFT. Weights in float16 and bfloat16
// become float32. Modules come in the order of their names, numbers compared as numbers, each with its
// Dim and Alpha filled in (rank_pattern and alpha_pattern applied as PEFT applies them).
//
// Everything is checked before anything is returned, and all faults are reported, joined: what the
// configuration asks for and gorun cannot do, keys that are not LoRA's, a matrix without its partner,
// shapes that do not fit, modules that the configuration does not cover (PEFT would ignore them).
func ReadPEFT(dir string) (*Adapter, error) {
	a, err := readPEFT(dir)
	if err != nil {
		return nil, fmt.Errorf("adapter %s: %w", dir, err)
	}
	return a, nil
}

func readPEFT(dir string) (*Adapter, error) {
	data, err := ReadBounded(filepath.Join(dir, ConfigFile), maxConfigBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no %s: give the folder that PEFT's save_pretrained or gorun wrote: %w", ConfigFile, err)
	case errors.Is(err, syscall.ENOTDIR):
		return nil, fmt.Errorf("this is a file: give the folder that it lies in: %w", err)
	case err != nil:
		return nil, err
	}
	c, err := parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigFile, err)
	}
	path := filepath.Join(dir, WeightsFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if _, other := os.Stat(filepath.Join(dir, "adapter_model.bin")); other == nil {
			return nil, fmt.Errorf("adapter_model.bin is a pickle, which is not read: load the adapter with PEFT "+
				"and save it again (save_pretrained writes %s): %w", WeightsFile, err)
		}
		return nil, fmt.Errorf("no %s: the adapter's weights are missing: %w", WeightsFile, err)
	}
	all, _, err := safetensors.ReadAll(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", WeightsFile, err)
	}
	a, err := assemble(c, all)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", WeightsFile, err)
	}
	return a, nil
}

// pair is the two matrices of one linear, and its magnitudes, while they are gathered.
type pair struct{ a, b, m *safetensors.Tensor }

// assemble joins configuration and weights.
func assemble(c *config, all []safetensors.Tensor) (*Adapter, error) {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	pairs := map[string]*pair{}
	out := &Adapter{Base: c.base, Revision: c.revision, Dim: c.dim, Alpha: c.alpha, Dropout: c.dropout, RSLoRA: c.rsLoRA, Tied: c.tied}
	for i := range all {
		t := &all[i]
		if name, ok := c.table(t.Name); ok {
			table, err := readTable(name, t)
			out.Tables, faults = append(out.Tables, table), append(faults, err)
			continue
		}
		name, suffix, err := splitKey(t.Name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		p := pairs[name]
		if p == nil {
			p = &pair{}
			pairs[name] = p
		}
		switch suffix {
		case suffixA:
			p.a = t
		case suffixB:
			p.b = t
		default:
			p.m = t
		}
	}
	faults = append(faults, c.missingTables(out.Tables)...)
	if len(pairs) > maxModules || len(pairs)*(len(c.ranks)+len(c.alphas)) > 1<<26 {
		bad("%d modules with %d patterns are more than is supported", len(pairs), len(c.ranks)+len(c.alphas))
		return nil, errors.Join(faults...)
	}
	names := make([]string, 0, len(pairs))
	for name := range pairs {
		names = append(names, name)
	}
	slices.SortFunc(names, compareNatural)

	for _, name := range names {
		if !c.covers(name) {
			bad("module %q has weights, but target_modules, exclude_modules and layers_to_transform of %s leave it out",
				name, ConfigFile)
		}
		m, err := assembleModule(c, name, pairs[name])
		if err != nil {
			faults = append(faults, err)
			continue
		}
		out.Modules = append(out.Modules, m)
	}
	if len(faults) == 0 {
		if err := out.Validate(); err != nil {
			return nil, err
		}
	}
	return out, errors.Join(faults...)
}

func assembleModule(c *config, name string, p *pair) (Module, error) {
	m := Module{
		Name:  name,
		Dim:   int(valueFor(c.ranks, name, float64(c.dim))),
		Alpha: valueFor(c.alphas, name, c.alpha),
	}
	if p.a == nil || p.b == nil {
		have, lack := "lora_A", "lora_B"
		if p.a == nil {
			have, lack = lack, have
		}
		return m, fmt.Errorf("module %q: %s without %s", name, have, lack)
	}
	if len(p.a.Shape) != 2 || len(p.b.Shape) != 2 || p.a.Shape[0] != m.Dim || p.b.Shape[1] != m.Dim {
		return m, fmt.Errorf("module %q: lora_A is %v and lora_B %v, want [%d, In] and [Out, %d] for r = %d in %s",
			name, p.a.Shape, p.b.Shape, m.Dim, m.Dim, m.Dim, ConfigFile)
	}
	m.In, m.Out = p.a.Shape[1], p.b.Shape[0]
	var errA, errB error
	m.A, errA = floats(p.a)
	m.B, errB = floats(p.b)
	errM := m.readMagnitude(c, p.m)
	return m, errors.Join(errA, errB, errM)
}

// readMagnitude takes the magnitudes, which are there with DoRA and only then.
func (m *Module) readMagnitude(c *config, t *safetensors.Tensor) (err error) {
	switch {
	case t == nil && !c.dora:
		return nil
	case t == nil:
		return fmt.Errorf("module %q: no %s, and use_dora is true in %s", m.Name, suffixM[1:], ConfigFile)
	case !c.dora:
		return fmt.Errorf("module %q: %s, and use_dora is not true in %s", m.Name, suffixM[1:], ConfigFile)
	case len(t.Shape) != 1 || t.Shape[0] != m.Out:
		return fmt.Errorf("module %q: %s is %v, want [%d]", m.Name, suffixM[1:], t.Shape, m.Out)
	}
	m.Magnitude, err = floats(t)
	return err
}

// splitKey takes a key of the weights file apart: the linear's name, and which of its tensors it is.
func splitKey(key string) (name, suffix string, err error) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	for _, suffix := range []string{suffixA, suffixB, suffixM} {
		if name, found := strings.CutSuffix(rest, suffix); ok && found {
			return name, suffix, nil
		}
	}
	why := fmt.Sprintf("want %sNAME%s or %s", keyPrefix, suffixA, suffixB)
	switch {
	case strings.Contains(key, "lora_embedding_"):
		why = "adapters on embeddings are not supported: target linears only"
	case strings.HasSuffix(key, ".lora_A.bias"), strings.HasSuffix(key, ".lora_B.bias"):
		why = unsupported["lora_bias"]
	case strings.Contains(key, "modules_to_save"):
		why = "only embed_tokens and lm_head can be modules_to_save, under their own names"
	case strings.HasSuffix(key, "embed_tokens.weight"), strings.HasSuffix(key, "lm_head.weight"):
		why = "an embedding that modules_to_save does not name is not supported: save again with save_embedding_layers=False"
	case strings.HasSuffix(key, ".bias"):
		why = "biases are not supported: train with bias=\"none\""
	}
	return "", "", fmt.Errorf("key %q: %s", key, why)
}

// floats decodes a tensor of float32, float16 or bfloat16 to float32.
func floats(t *safetensors.Tensor) ([]float32, error) {
	width := 2
	switch t.DType {
	case dtypes.Float32:
		width = 4
	case dtypes.Float16, dtypes.BFloat16:
	default:
		return nil, fmt.Errorf("%q is %s, want float32, float16 or bfloat16", t.Name, t.DType)
	}
	n := 1
	for _, d := range t.Shape {
		if d < 1 || d > maxSize {
			return nil, fmt.Errorf("%q: shape %v, want sizes of 1 to %d", t.Name, t.Shape, maxSize)
		}
		n *= d
	}
	if len(t.Data) != n*width {
		return nil, fmt.Errorf("%q: %d bytes for shape %v of %s", t.Name, len(t.Data), t.Shape, t.DType)
	}
	out := make([]float32, n)
	switch t.DType {
	case dtypes.Float32:
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	case dtypes.BFloat16:
		for i := range out {
			out[i] = bfloat16.FromBits(binary.LittleEndian.Uint16(t.Data[2*i:])).Float32()
		}
	case dtypes.Float16:
		for i := range out {
			out[i] = float16.FromBits(binary.LittleEndian.Uint16(t.Data[2*i:])).Float32()
		}
	}
	return out, nil
}

// compareNatural orders names with their numbers compared as numbers: layer 2 before layer 10.
func compareNatural(x, y string) int {
	for x != "" && y != "" {
		if n, m := digits(x), digits(y); n > 0 && m > 0 {
			a, b := strings.TrimLeft(x[:n], "0"), strings.TrimLeft(y[:m], "0")
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			if c := strings.Compare(a, b); c != 0 {
				return c
			}
			if n != m {
				return n - m
			}
			x, y = x[n:], y[m:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	return len(x) - len(y)
}

// digits returns how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
