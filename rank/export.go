package rank

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"golang.org/x/sys/unix"

	"gorun/model/export"
	"gorun/model/gguf"
	"gorun/model/spec"
)

// The formats of an export.
const (
	FormatPEFT        = "peft"         // the adapter as PEFT reads it, names and targets normalised
	FormatHF          = "hf"           // base and adapter merged, a folder as transformers reads it
	FormatGGUF        = "gguf"         // base and adapter merged, one GGUF file
	FormatGGUFAdapter = "gguf-adapter" // the adapter as a GGUF file
	FormatVLLM        = "vllm"         // the adapter as vLLM serves it
)

// Files of an export's folder.
const (
	reportFile      = "export.json"
	ggufModelFile   = "model.gguf"
	ggufAdapterFile = "adapter.gguf"
)

// ExportOptions say what to write, and where.
type ExportOptions struct {
	Format   string
	From     Named
	Out      string // a folder that does not exist yet
	DType    string // f32, bf16, f16, q8_0, or auto: what the base is stored as, BF16 for a quantised one; adapters F32
	MaxShard int64  // most bytes of a file of weights, for FormatHF
	Name     string // of the model, for GGUF and vLLM
	Version  string // of gorun
	Device   Device // where the export is verified
}

// Named are the base and the adapter of an export as the user named them, for export.json.
type Named struct {
	Base    string // the base's path if empty
	Adapter string
}

// Report is what an export leaves beside its files, as export.json.
type Report struct {
	Gorun       string           `json:"gorun"`
	Format      string           `json:"format"`
	DType       string           `json:"dtype"`
	Base        string           `json:"base"`
	BaseDigest  string           `json:"base_digest"`
	Adapter     string           `json:"adapter,omitempty"`
	MaxLoraRank int              `json:"vllm_max_lora_rank,omitempty"`
	Files       map[string]int64 `json:"files"` // sizes in bytes
	Check       Check            `json:"check"`
}

// exporter is one export under way.
type exporter struct {
	ExportOptions
	base        *Base
	from        *export.Adapter // nil: the base alone
	as          dtypes.DType    // of FormatHF
	asGGUF      gguf.Type       // of GGUF files
	maxLoraRank int
}

// Export writes base and adapter in a format, reads the result back, compares its logits with those of base and adapter,
// and only then puts the folder in its place, with export.json in it. A result beyond its tolerance is an error, and
// nothing is left of it.
func Export(ctx context.Context, base *Base, from *export.Adapter, o ExportOptions) (r *Report, err error) {
	e := &exporter{ExportOptions: o, base: base, from: from}
	if err := e.settle(); err != nil {
		return nil, err
	}
	out, tmp, err := beside(o.Out)
	if err != nil {
		return nil, err
	}
	if r, err = e.writeTo(ctx, tmp); err == nil {
		err = os.Rename(tmp, out)
	}
	if err != nil {
		return nil, errors.Join(explainRoom(err, filepath.Dir(out)), os.RemoveAll(tmp))
	}
	return r, nil
}

// beside makes the folder that an export is written in, beside that which it becomes.
func beside(path string) (out, tmp string, err error) {
	if out, err = filepath.Abs(path); err != nil {
		return "", "", err
	}
	if _, err := os.Lstat(out); err == nil {
		return "", "", fmt.Errorf("%s is there already: name a folder that is not, or remove it", path)
	}
	if err = os.MkdirAll(filepath.Dir(out), 0o755); err == nil {
		tmp, err = os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".*.tmp")
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return "", "", fmt.Errorf("%s cannot be written to: write the export to another folder, or change its permissions: %w", filepath.Dir(out), err)
	} else if err != nil {
		return "", "", explainRoom(err, filepath.Dir(out))
	}
	if err := os.Chmod(tmp, 0o755); err != nil { // MkdirTemp's is for its owner alone
		return "", "", errors.Join(err, os.RemoveAll(tmp))
	}
	return out, tmp, nil
}

// explainRoom adds what to do to the errors of a full disk.
func explainRoom(err error, dir string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("no room in %s for the export: free space there, or write it to a folder on another disk; nothing is left of it: %w", dir, err)
	}
	return err
}

// writeTo writes, verifies and reports an export in the folder tmp.
func (e *exporter) writeTo(ctx context.Context, tmp string) (*Report, error) {
	if err := e.write(tmp); err != nil {
		return nil, err
	}
	r := &Report{Gorun: e.Version, Format: e.Format, DType: e.DType, Base: cmp.Or(e.From.Base, e.base.Path), BaseDigest: e.base.Digest(), Adapter: e.From.Adapter, MaxLoraRank: e.maxLoraRank}
	var err error
	if r.Check, err = e.verify(ctx, tmp); err != nil {
		return nil, fmt.Errorf("verify the export: %w", err)
	}
	if r.Files, err = sizes(tmp); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return r, os.WriteFile(filepath.Join(tmp, reportFile), append(text, '\n'), 0o644)
}

// merges tells whether the format holds the base's weights.
func (e *exporter) merges() bool { return e.Format == FormatHF || e.Format == FormatGGUF }

// settle checks the options and settles dtypes.
func (e *exporter) settle() error {
	formats := []string{FormatPEFT, FormatHF, FormatGGUF, FormatGGUFAdapter, FormatVLLM}
	switch {
	case !slices.Contains(formats, e.Format):
		return fmt.Errorf("no export has the format %q: use one of %s", e.Format, strings.Join(formats, ", "))
	case e.from == nil && !e.merges():
		return fmt.Errorf("the format %s is of an adapter: name one by --adapter", e.Format)
	}
	if e.from != nil {
		if err := e.from.Fits(e.base.Decoder); err != nil {
			return err
		}
	}
	hf := map[string]dtypes.DType{"f32": dtypes.Float32, "bf16": dtypes.BFloat16, "f16": dtypes.Float16}
	files := map[string]gguf.Type{"f32": gguf.F32, "bf16": gguf.BF16, "f16": gguf.F16, "q8_0": gguf.Q8_0}
	name := e.DType
	if name == "auto" {
		name = e.autoDType()
	}
	names := []string{"f32"} // PEFT's own: adapters are small
	switch e.Format {
	case FormatHF:
		names = slices.Sorted(maps.Keys(hf))
	case FormatGGUF, FormatGGUFAdapter:
		names = slices.Sorted(maps.Keys(files))
	}
	e.as, e.asGGUF = hf[name], files[name]
	if !slices.Contains(names, name) {
		return fmt.Errorf("the format %s cannot be stored as %q: use auto or %s", e.Format, e.DType, strings.Join(names, ", "))
	}
	e.DType = name
	return nil
}

// autoDType is what the base is stored as, and bf16 for one that is quantised.
func (e *exporter) autoDType() string {
	if !e.merges() {
		return "f32"
	}
	if e.base.Meta == nil {
		switch dtype, _, _ := e.base.Info(spec.EmbedTensor); dtype {
		case dtypes.Float32:
			return "f32"
		case dtypes.Float16:
			return "f16"
		}
	}
	return "bf16"
}

// write writes the format's files into dir.
func (e *exporter) write(dir string) error {
	switch e.Format {
	case FormatHF, FormatGGUF:
		m, err := export.Merge(e.base.Model, e.from)
		if err != nil {
			return err
		}
		if e.Format == FormatHF {
			return export.WriteHF(dir, m, e.as, e.MaxShard)
		}
		return export.WriteGGUF(filepath.Join(dir, ggufModelFile), m, e.asGGUF, e.Name)
	case FormatGGUFAdapter:
		return export.WriteGGUFAdapter(filepath.Join(dir, ggufAdapterFile), e.base.Decoder, e.from, e.asGGUF)
	}
	a := *e.from
	if e.Format == FormatVLLM {
		served, most, err := export.ForVLLM(e.from)
		if err != nil {
			return err
		}
		a, e.maxLoraRank = *served, most
	}
	a.Linears = linears(e.base.Decoder)
	return export.WritePEFT(dir, a)
}

// linears names every linear that PEFT could match by suffix.
func linears(d *spec.Decoder) []string {
	var names []string
	for layer := range d.Layers {
		for _, l := range d.Linears(layer) {
			names = append(names, l.Name)
		}
	}
	return append(names, d.Head().Name)
}

// sizes lists the files of a folder.
func sizes(dir string) (map[string]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		out[entry.Name()] = info.Size()
	}
	return out, nil
}
