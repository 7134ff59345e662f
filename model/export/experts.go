package export

import (
	"errors"
	"fmt"

	"gorun/model/spec"
)

// Adapters of experts are written as modules of their own, one for each linear of each expert: as PEFT wrote them with
// transformers 4, and as vLLM reads them. With transformers 5, which holds the experts of a layer in two tensors, PEFT
// (0.21, peft/utils/transformers_weight_conversion.py) puts the modules together again when it loads them: it goes by the
// last names in target_modules alone, gives gate and up one adapter of twice their Dim and Alpha, and knows plain LoRA
// without dropout there. What it would load as something else must not be trained.

// CheckExperts reports every way in which the adapter's experts are not as PEFT loads them.
func (a *Adapter) CheckExperts(d *spec.Decoder) error {
	if d.Mixture == nil {
		return nil
	}
	adapted := make(map[string]*Module, len(a.Modules))
	for i := range a.Modules {
		adapted[a.Modules[i].Name] = &a.Modules[i]
	}
	names := [3]string{d.Mixture.Gate, d.Mixture.Up, d.Mixture.Down}
	var with, all [3]int // of gate, up and down: experts that are adapted, and experts
	plain, uneven := "", false
	for layer := range d.Layers {
		if !d.Sparse(layer) {
			for _, l := range d.Linears(layer) {
				if adapted[l.Name] != nil && (leaf(l.Name) == names[0] || leaf(l.Name) == names[1] || leaf(l.Name) == names[2]) {
					plain = l.Name
				}
			}
			continue
		}
		for e := range d.Mixture.Experts {
			for i, l := range d.Expert(layer, e) {
				all[i]++
				if m := adapted[l.Name]; m != nil {
					with[i]++
					uneven = uneven || a.DimOf(m) != a.Dim || a.AlphaOf(m) != a.Alpha
				}
			}
		}
	}
	return errors.Join(a.expertFaults(names, with, all, plain, uneven)...)
}

func (a *Adapter) expertFaults(names [3]string, with, all [3]int, plain string, uneven bool) []error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if plain != "" {
		bad("module %s: PEFT takes that name for the experts' and would leave it out: exclude the MLPs of layers without experts", plain)
	}
	for i, name := range names {
		if with[i] > 0 && with[i] < all[i] {
			bad("%s of %d of %d experts: PEFT adapts that of every expert or of none", name, with[i], all[i])
		}
	}
	if (with[0] == 0) != (with[1] == 0) {
		bad("%s without %s, or the other way round: PEFT has one adapter for both of an expert: target both or neither", names[0], names[1])
	}
	if with == [3]int{} {
		return faults
	}
	if uneven {
		bad("experts with a dim or an alpha of their own: PEFT takes r and lora_alpha for them: let dim_pattern and alpha_pattern not match them")
	}
	if a.Dropout > 0 {
		bad("dropout %v: PEFT has none for experts: set it to 0", a.Dropout)
	}
	if a.DoRA() {
		bad("DoRA: PEFT has plain LoRA alone for experts")
	}
	if a.RSLoRA && with[0] > 0 {
		bad("rank-stabilised scaling: PEFT doubles r and lora_alpha of %s and %s, which changes it: scale by alpha/dim", names[0], names[1])
	}
	return faults
}
