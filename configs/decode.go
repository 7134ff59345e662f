package configs

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// maxFaults bounds how many faults of one file are told.
const maxFaults = 50

// setName is what a validation set may be called: it becomes part of metrics' names.
var setName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// decoder turns a tree into a Recipe and gathers what does not fit.
type decoder struct {
	tree   *tree
	faults []*Fault
	failed map[string]bool // dotted keys with a fault
}

// fault notes what is wrong at path.
func (d *decoder) fault(path []string, format string, args ...any) {
	field := strings.Join(path, ".")
	d.failed[field] = true
	if len(d.faults) < maxFaults {
		where, line := d.tree.where(path)
		d.faults = append(d.faults, &Fault{Where: where, Field: field, Problem: fmt.Sprintf(format, args...), line: line})
	}
}

// recipe fills r, which holds the defaults.
func (d *decoder) recipe(r *Recipe) {
	root := reflect.ValueOf(r).Elem()
	validation := map[string]any(nil)
	for _, name := range slices.Sorted(maps.Keys(d.tree.values)) {
		path, value := []string{name}, d.tree.values[name]
		k, ok := findKey(recipeType, name)
		if !ok {
			d.fault(path, "%s", unknown(recipeType, path))
			continue
		}
		table, isTable := value.(map[string]any)
		if !isTable {
			d.fault(path, "%s given; write it as a section, [%s]", describe(value), name)
			continue
		}
		if k.typ == datasetMapType {
			validation = table
			continue
		}
		d.table(path, table, root.Field(k.index))
	}
	d.dependentDefaults(r)
	if validation != nil {
		d.validationSets(r, validation)
	}
}

// dependentDefaults fills keys that were not given and whose default follows from others.
func (d *decoder) dependentDefaults(r *Recipe) {
	peft, hasPEFT := d.tree.values["peft"].(map[string]any)
	if _, given := peft["scheme"]; hasPEFT && !given {
		r.PEFT.Scheme = "lora"
	}
	if _, given := peft["target_modules"]; !given && r.PEFT.MatchAllLinear {
		r.PEFT.TargetModules = nil
	}
	loader, _ := d.tree.values["validation_dataloader"].(map[string]any)
	if _, given := loader["batch_size"]; !given {
		r.ValidationDataloader.BatchSize = r.Dataloader.BatchSize
	}
}

// validationSets reads [validation_dataset] with keys of its own, or [validation_dataset.NAME]s.
func (d *decoder) validationSets(r *Recipe, table map[string]any) {
	const section = "validation_dataset"
	var own, sets []string
	for _, name := range slices.Sorted(maps.Keys(table)) {
		_, isTable := table[name].(map[string]any)
		if _, isKey := findKey(datasetType, name); isKey || !isTable {
			own = append(own, name)
			continue
		}
		sets = append(sets, name)
	}
	r.ValidationDataset = make(map[string]Dataset)
	switch {
	case len(sets) == 0:
		r.ValidationDataset[DefaultSet] = d.validationSet(r, []string{section}, table)
		return
	case len(own) > 0:
		d.fault([]string{section, own[0]}, "one set has its keys under [%s], several have them under [%s.NAME], as %s has; not both", section, section, sets[0])
		return
	}
	for _, name := range sets {
		path := []string{section, name}
		if !setName.MatchString(name) {
			d.fault(path, "the set's name may have letters, digits, _ and - only, at most 64")
			continue
		}
		set, _ := table[name].(map[string]any)
		r.ValidationDataset[name] = d.validationSet(r, path, set)
	}
}

// validationSet reads one set over what it takes from [dataset].
func (d *decoder) validationSet(r *Recipe, path []string, table map[string]any) Dataset {
	kind, _ := table["kind"].(string)
	set := validationDefaults(r.Dataset, kind)
	d.table(path, table, reflect.ValueOf(&set).Elem())
	return set
}

// table fills the struct v from a section.
func (d *decoder) table(path []string, table map[string]any, v reflect.Value) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		at := append(slices.Clone(path), name)
		k, ok := findKey(v.Type(), name)
		if !ok {
			d.fault(at, "%s", unknown(v.Type(), at))
			continue
		}
		if k.isTable() {
			sub, isTable := table[name].(map[string]any)
			if !isTable {
				d.fault(at, "%s given; it is a section: [%s]", describe(table[name]), strings.Join(at, "."))
				continue
			}
			d.table(at, sub, v.Field(k.index))
			continue
		}
		d.value(at, table[name], v.Field(k.index))
	}
}

// value fills one field.
func (d *decoder) value(path []string, value any, v reflect.Value) {
	if s, ok := v.Addr().Interface().(tomlSetter); ok {
		if err := s.setTOML(value); err != nil {
			d.fault(path, "%v", err)
		}
		return
	}
	if !assign(value, v) {
		d.fault(path, "%s given; want %s", describe(value), typeWord(v.Type()))
	}
}

// assign converts a TOML value to v's type without loss; an integer may stand for a number. It leaves v
// alone and says false where that is not possible.
func assign(value any, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		s, ok := value.(string)
		if ok {
			v.SetString(s)
		}
		return ok
	case reflect.Bool:
		b, ok := value.(bool)
		if ok {
			v.SetBool(b)
		}
		return ok
	case reflect.Int, reflect.Int64:
		i, ok := value.(int64)
		if ok = ok && !v.OverflowInt(i); ok {
			v.SetInt(i)
		}
		return ok
	case reflect.Float64:
		if i, ok := value.(int64); ok && i >= -1<<53 && i <= 1<<53 {
			v.SetFloat(float64(i))
			return true
		}
		f, ok := value.(float64)
		if ok {
			v.SetFloat(f)
		}
		return ok
	case reflect.Array, reflect.Slice:
		return assignList(value, v)
	}
	return false
}

// assignList fills an array of the same length, or a slice; an empty list is a nil slice.
func assignList(value any, v reflect.Value) bool {
	list, ok := value.([]any)
	if !ok || (v.Kind() == reflect.Array && len(list) != v.Len()) {
		return false
	}
	fresh := reflect.New(v.Type()).Elem()
	if v.Kind() == reflect.Slice && len(list) > 0 {
		fresh.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	}
	for i, item := range list {
		if !assign(item, fresh.Index(i)) {
			return false
		}
	}
	v.Set(fresh)
	return true
}

// unknown says that a section of type t has no such key, and what may have been meant.
func unknown(t reflect.Type, path []string) string {
	if t == recipeType {
		return "unknown section; " + suggest(t, path)
	}
	return "unknown key; " + suggest(t, path)
}
