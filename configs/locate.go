package configs

import (
	"slices"
	"strings"
)

// locate says of faults that checking found where the recipe or --set gave the value; what nobody gave has no such place.
// What a validation set has taken from [dataset], wrong as it is, is told of there alone.
func (t *tree) locate(faults []*Fault) []*Fault {
	type fault struct{ field, problem string }
	told := make(map[fault]bool)
	for _, f := range faults {
		told[fault{f.Field, f.Problem}] = true
	}
	faults = slices.DeleteFunc(faults, func(f *Fault) bool {
		return !t.gives(f.Field) && told[fault{takenFrom(f.Field), f.Problem}]
	})
	for _, f := range faults[:min(len(faults), maxFaults)] { // to find a line takes time
		if f.Where == "" && t.gives(f.Field) {
			f.Where, f.line = t.where(strings.Split(f.Field, "."))
		}
	}
	return faults
}

// takenFrom is the key that a key of a validation set or of its loader has its value from where it is not given, "" of others.
func takenFrom(field string) string {
	section, rest, _ := strings.Cut(field, ".")
	switch section {
	case "validation_dataloader":
		return "dataloader." + rest
	case "validation_dataset":
		if section, key, ok := strings.Cut(rest, "."); ok && section != "columns" {
			rest = key // behind the set's name
		}
		return "dataset." + rest
	}
	return ""
}

// gives tells whether the recipe or a --set has the key.
func (t *tree) gives(field string) bool {
	var value any = t.values
	for _, name := range strings.Split(field, ".") {
		table, _ := value.(map[string]any)
		var ok bool
		if value, ok = table[name]; !ok {
			return false
		}
	}
	return true
}
