package export

import (
	"errors"
	"fmt"
	"math"
	"regexp"
)

// Adapter is a LoRA adapter in host memory: what PEFT calls LoraConfig and its weights.
//
// The product of one module is scaling * B * A, added to the base's weight [Out, In]; Scaling gives the
// factor. With DoRA the rows of the sum are then scaled to the lengths that Magnitude gives.
type Adapter struct {
	Base     string   // base_model_name_or_path: Hub id or folder of the base; "" if unknown
	Revision string   // revision of the base; "" if unknown
	Modules  []Module // the adapted linears, in any order
	Dim      int      // default inner size ("r" in PEFT files), for modules whose Dim is 0
	Alpha    float64  // default numerator of the scaling, for modules whose Alpha is 0
	Dropout  float64  // dropout probability it was trained with, in [0, 1)
	RSLoRA   bool     // scaling is Alpha/sqrt(Dim) instead of Alpha/Dim

	Tables []Table // the embedding and the head, where they are trained in full beside the adapter
	Tied   bool    // of a base whose head is its embedding: so is the trained one

	// Linears names every linear of the base that PEFT could match by suffix. With it, target_modules
	// holds the last segment of a name ("q_proj") wherever all linears so named are adapted; without
	// it, or where only some are, it holds full names. ReadPEFT leaves it nil.
	Linears []string
}

// Module is the adapter of one linear.
type Module struct {
	Name    string    // of the linear, as in Hugging Face: "model.layers.0.self_attn.q_proj"
	A       []float32 // [Dim, In], row-major
	B       []float32 // [Out, Dim], row-major
	Dim     int       // inner size; 0 takes the adapter's
	In, Out int       // sizes of the linear
	Alpha   float64   // numerator of the scaling; 0 takes the adapter's

	Magnitude []float32 // DoRA: length of each row of the result [Out]; nil = plain LoRA. All modules have it, or none
}

// Limits on what is read from, and so on what may be written to, an adapter folder.
const (
	maxModules     = 1 << 16 // linears in one adapter
	maxDim         = 1 << 16 // inner size
	maxSize        = 1 << 24 // In and Out
	maxConfigBytes = 8 << 20 // adapter_config.json
	maxNameBytes   = 512     // name of a linear
)

// File names of an adapter folder, as PEFT has them.
const (
	ConfigFile  = "adapter_config.json"
	WeightsFile = "adapter_model.safetensors"
)

// moduleName accepts dotted names as PyTorch's modules have them; nothing in it has a meaning in a
// regular expression but the dot, so names can be used as PEFT's patterns unescaped.
var moduleName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// AName returns the name of matrix A of a linear, as used for parameters in checkpoints:
// "model.layers.0.self_attn.q_proj.lora_A.weight". The key in PEFT's file has keyPrefix before it.
func AName(linear string) string { return linear + suffixA }

// BName returns the name of matrix B of a linear; see AName.
func BName(linear string) string { return linear + suffixB }

// MagnitudeName returns the name of DoRA's magnitudes of a linear; see AName.
func MagnitudeName(linear string) string { return linear + suffixM }

const (
	keyPrefix = "base_model.model."
	suffixA   = ".lora_A.weight"
	suffixB   = ".lora_B.weight"
	suffixM   = ".lora_magnitude_vector"
)

// DoRA tells whether the modules have magnitudes, filled in or, in a description without values, of length zero.
func (a *Adapter) DoRA() bool { return len(a.Modules) > 0 && a.Modules[0].Magnitude != nil }

// DimOf returns the inner size of a module: its own, or the adapter's.
func (a *Adapter) DimOf(m *Module) int {
	if m.Dim != 0 {
		return m.Dim
	}
	return a.Dim
}

// AlphaOf returns the numerator of a module's scaling: its own, or the adapter's.
func (a *Adapter) AlphaOf(m *Module) float64 {
	if m.Alpha != 0 {
		return m.Alpha
	}
	return a.Alpha
}

// Scaling returns the factor before B*A of a module: Alpha/Dim, or Alpha/sqrt(Dim) with RSLoRA.
func (a *Adapter) Scaling(m *Module) float64 {
	dim := float64(a.DimOf(m))
	if a.RSLoRA {
		return a.AlphaOf(m) / math.Sqrt(dim)
	}
	return a.AlphaOf(m) / dim
}

// Validate reports everything that would keep the adapter from being written, joined: sizes that do
// not fit, names used twice or not a module's, values that are not finite.
func (a *Adapter) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if a.Dim < 1 || a.Dim > maxDim {
		bad("Dim is %d, want 1 to %d", a.Dim, maxDim)
	}
	if !(a.Alpha > 0) || math.IsInf(a.Alpha, 0) {
		bad("Alpha is %v, want a positive number", a.Alpha)
	}
	if !(a.Dropout >= 0 && a.Dropout < 1) {
		bad("Dropout is %v, want 0 up to but not including 1", a.Dropout)
	}
	if len(a.Modules) == 0 {
		bad("no module: an adapter needs at least one")
	}
	if len(a.Modules) > maxModules {
		bad("%d modules, at most %d are supported", len(a.Modules), maxModules)
	}
	seen := make(map[string]bool, len(a.Modules))
	for i := range a.Modules {
		m := &a.Modules[i]
		if seen[m.Name] {
			bad("module %q is given twice", m.Name)
		}
		seen[m.Name] = true
		if err := a.validateModule(m); err != nil {
			faults = append(faults, err)
		}
	}
	faults = append(faults, a.validateTables()...)
	if a.Linears != nil {
		known := make(map[string]bool, len(a.Linears))
		for _, name := range a.Linears {
			known[name] = true
		}
		for i := range a.Modules {
			if name := a.Modules[i].Name; !known[name] {
				bad("module %q is not one of the base's %d linears", name, len(a.Linears))
			}
		}
	}
	return errors.Join(faults...)
}

func (a *Adapter) validateModule(m *Module) error {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("module %q: %w", m.Name, fmt.Errorf(format, args...)))
	}
	if len(m.Name) > maxNameBytes || !moduleName.MatchString(m.Name) {
		bad("not a module's name: want dotted words of letters, digits, _ and -, at most %d bytes", maxNameBytes)
	}
	if m.Alpha < 0 || math.IsNaN(m.Alpha) || math.IsInf(m.Alpha, 0) {
		bad("Alpha is %v, want a positive number, or 0 for the adapter's", m.Alpha)
	}
	dim := a.DimOf(m)
	if dim < 1 || dim > maxDim || m.In < 1 || m.In > maxSize || m.Out < 1 || m.Out > maxSize {
		bad("Dim %d, In %d, Out %d: want 1 to %d, and 1 to %d for In and Out", dim, m.In, m.Out, maxDim, maxSize)
		return errors.Join(faults...)
	}
	if len(m.A) != dim*m.In {
		bad("A has %d values, want Dim*In = %d*%d", len(m.A), dim, m.In)
	}
	if len(m.B) != m.Out*dim {
		bad("B has %d values, want Out*Dim = %d*%d", len(m.B), m.Out, dim)
	}
	if (m.Magnitude != nil) != a.DoRA() {
		bad("DoRA is for all modules or none")
	} else if m.Magnitude != nil && len(m.Magnitude) != m.Out {
		bad("Magnitude has %d values, want Out = %d", len(m.Magnitude), m.Out)
	}
	for _, x := range []struct {
		name   string
		values []float32
	}{{"A", m.A}, {"B", m.B}, {"Magnitude", m.Magnitude}} {
		if i := notFinite(x.values); i >= 0 {
			bad("%s[%d] is %v: the training that made it diverged; use an earlier checkpoint or a lower learning rate",
				x.name, i, x.values[i])
		}
	}
	return errors.Join(faults...)
}

// notFinite returns the index of the first NaN or infinity, -1 if there is none.
func notFinite(values []float32) int {
	for i, v := range values {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// loraOnly reports what plain LoRA does not have, where nothing else can be said; what is "vLLM serves".
func (a *Adapter) loraOnly(what string) []error {
	var faults []error
	if a.DoRA() {
		faults = append(faults, fmt.Errorf("the adapter is DoRA's, and %s plain LoRA alone: merge it into the base", what))
	}
	if len(a.Tables) > 0 {
		faults = append(faults, fmt.Errorf("the adapter has modules_to_save %v, and %s no trained embedding or head: merge it into the base", a.saved(), what))
	}
	return faults
}
