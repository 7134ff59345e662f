package export

import (
	"fmt"
	"slices"
	"strings"

	"gorun/model/safetensors"
	"gorun/model/spec"
)

// Table is the embedding or the head, trained in full beside an adapter: one of PEFT's modules_to_save. Servers take
// adapters without: vLLM and llama.cpp need them merged.
type Table struct {
	Name       string    // spec.EmbedTensor or spec.HeadTensor
	Rows, Cols int       // size of the vocabulary and of the residual stream
	Values     []float32 // [Rows, Cols], row-major
}

// tableModules are the modules that may be trained in full, by their tensors.
var tableModules = map[string]string{spec.EmbedTensor: "embed_tokens", spec.HeadTensor: "lm_head"}

// TableOf returns the tensor of a module of modules_to_save, given by its name or the end of it.
func TableOf(module string) (tensor string, ok bool) {
	for tensor := range tableModules {
		full := strings.TrimSuffix(tensor, ".weight")
		if module != "" && (full == module || strings.HasSuffix(full, "."+module)) {
			return tensor, true
		}
	}
	return "", false
}

// Table returns the trained values of a tensor, by its Hugging Face name; nil if it is the base's.
func (a *Adapter) Table(tensor string) *Table {
	for i := range a.Tables {
		if a.Tables[i].Name == tensor {
			return &a.Tables[i]
		}
	}
	return nil
}

// TrainedTables lists the tables that are trained: where the head is the embedding, as both are saved, the embedding
// alone.
func (a *Adapter) TrainedTables() []Table {
	var out []Table
	for _, t := range a.Tables {
		if t.Name == spec.EmbedTensor || !a.Tied || a.Table(spec.EmbedTensor) == nil {
			out = append(out, t)
		}
	}
	return out
}

// saved is modules_to_save; nil if there is nothing.
func (a *Adapter) saved() []string {
	var out []string
	for _, t := range a.Tables {
		out = append(out, tableModules[t.Name])
	}
	slices.Sort(out)
	return out
}

// tableNames lists the names that a table has in PEFT's file: the head too where it is the embedding.
func (a *Adapter) tableNames(t Table) []string {
	if a.Tied && t.Name == spec.EmbedTensor && a.Table(spec.HeadTensor) == nil {
		return []string{t.Name, spec.HeadTensor}
	}
	return []string{t.Name}
}

func (a *Adapter) validateTables() []error {
	var faults []error
	seen := map[string]bool{}
	for _, t := range a.Tables {
		switch i := notFinite(t.Values); {
		case tableModules[t.Name] == "" || seen[t.Name]:
			faults = append(faults, fmt.Errorf("table %q: want %s or %s, each once", t.Name, spec.EmbedTensor, spec.HeadTensor))
		case t.Rows < 1 || t.Rows > maxSize || t.Cols < 1 || t.Cols > maxSize || len(t.Values) != t.Rows*t.Cols:
			faults = append(faults, fmt.Errorf("table %q: %d values for %d rows of %d", t.Name, len(t.Values), t.Rows, t.Cols))
		case i >= 0:
			faults = append(faults, fmt.Errorf("table %q: value %d is %v: the training that made it diverged; use an earlier checkpoint or a lower learning rate", t.Name, i, t.Values[i]))
		}
		seen[t.Name] = true
	}
	return faults
}

// tableFaults reports tables that are not of the decoder's size, and trained apart though they are one in the base.
func (a *Adapter) tableFaults(d *spec.Decoder) []error {
	var faults []error
	for _, t := range a.Tables {
		if t.Rows != d.Vocab || t.Cols != d.Hidden {
			faults = append(faults, fmt.Errorf("table %q is [%d, %d], the base's [%d, %d]: a vocabulary that has grown is not supported", t.Name, t.Rows, t.Cols, d.Vocab, d.Hidden))
		}
	}
	if d.TiedHead && len(a.Tables) > 0 {
		embed, head := a.Table(spec.EmbedTensor), a.Table(spec.HeadTensor)
		if !a.Tied || embed == nil || head != nil && !slices.Equal(embed.Values, head.Values) {
			faults = append(faults, fmt.Errorf("modules_to_save %v: the base's head is its embedding, and the adapter was trained without ensure_weight_tying, so that they are two: merge it into its base with PEFT", a.saved()))
		}
	}
	return faults
}

// savedFaults reports what cannot be among modules_to_save.
func (c *config) savedFaults() []error {
	var faults []error
	for _, module := range c.saved {
		if _, ok := TableOf(module); !ok {
			faults = append(faults, fmt.Errorf("modules_to_save: %.60q is not supported, only embed_tokens and lm_head: merge the adapter into its base with PEFT", module))
		}
	}
	return faults
}

// table says which table a key of the weights file is; ok is false for all others.
func (c *config) table(key string) (tensor string, ok bool) {
	tensor, ok = strings.CutPrefix(key, keyPrefix)
	return tensor, ok && tableModules[tensor] != "" && (c.saves(tensor) || c.tied && len(c.saved) > 0)
}

// saves tells whether modules_to_save names the module of a tensor.
func (c *config) saves(tensor string) bool {
	return slices.ContainsFunc(c.saved, func(module string) bool {
		t, ok := TableOf(module)
		return ok && t == tensor
	})
}

// missingTables reports modules_to_save that have no weights.
func (c *config) missingTables(found []Table) []error {
	var faults []error
	for tensor, module := range tableModules {
		if c.saves(tensor) && !slices.ContainsFunc(found, func(t Table) bool { return t.Name == tensor }) {
			faults = append(faults, fmt.Errorf("modules_to_save names %s, and there is no key %s%s", module, keyPrefix, tensor))
		}
	}
	return faults
}

func readTable(name string, t *safetensors.Tensor) (Table, error) {
	if len(t.Shape) != 2 {
		return Table{}, fmt.Errorf("%q: shape %v, want two axes", t.Name, t.Shape)
	}
	values, err := floats(t)
	return Table{Name: name, Rows: t.Shape[0], Cols: t.Shape[1], Values: values}, err
}
