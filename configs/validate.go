package configs

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Validate returns every fault of the recipe, joined, each a *Fault that names the field, what was given
// and the fix: values out of range, contradictions between keys, and files that are not there. It looks
// at the file system, not at the network or the device. nil means that the run may be planned.
func (r *Recipe) Validate() error { return join(r.check(nil)) }

// check gathers the faults: first each key alone, by its tags, then the rules between keys. Fields that could not be read
// have their default, which nobody gave: rules between keys leave them out as those with a fault.
func (r *Recipe) check(failed map[string]bool) []*Fault {
	c := &checker{bad: make(map[string]bool)}
	maps.Copy(c.bad, failed)
	root := reflect.ValueOf(r).Elem()
	for _, section := range keysOf(recipeType) {
		if section.typ != datasetMapType {
			c.section(section.name, root.Field(section.index))
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(r.ValidationDataset)) {
			c.section(setPath(r, name), reflect.ValueOf(r.ValidationDataset[name]))
			if !setName.MatchString(name) {
				c.fault("validation_dataset", "set name %q: letters, digits, _ and - only, at most 64", name)
			}
		}
	}
	c.schedule(r)
	c.model(r)
	c.peft(r)
	c.mesh(r)
	c.datasets(r)
	c.order(r)
	c.output(r)
	return c.faults
}

// setPath is how a recipe spells a validation set's section.
func setPath(r *Recipe, name string) string {
	if name == DefaultSet && len(r.ValidationDataset) == 1 {
		return "validation_dataset"
	}
	return "validation_dataset." + name
}

// checker gathers faults.
type checker struct {
	faults []*Fault
	bad    map[string]bool // fields with a fault of their own: rules between keys leave them out
}

// fault notes what is wrong with a field.
func (c *checker) fault(field, format string, args ...any) {
	c.bad[field] = true
	c.faults = append(c.faults, &Fault{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// good says that none of the fields has a fault yet.
func (c *checker) good(fields ...string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return c.bad[f] })
}

// section checks a section's keys by their tags.
func (c *checker) section(path string, v reflect.Value) {
	for _, k := range keysOf(v.Type()) {
		field := v.Field(k.index)
		at := path + "." + k.name
		switch field.Kind() {
		case reflect.Struct:
			c.section(at, field)
		case reflect.String:
			if k.values != nil && !slices.Contains(k.values, field.String()) {
				c.enum(at, field.String(), k.values)
			}
		case reflect.Int, reflect.Int64:
			if k.bounds != nil && !k.bounds.holds(float64(field.Int())) {
				c.fault(at, "%d is out of range; want %s", field.Int(), k.bounds.words())
			}
		case reflect.Float64:
			c.number(at, field.Float(), k.bounds)
		case reflect.Array:
			for i := range field.Len() {
				c.number(at, field.Index(i).Float(), k.bounds)
			}
		}
	}
}

// enum says which values there are, the nearest first in words.
func (c *checker) enum(at, given string, values []string) {
	list := strings.Join(values, ", ")
	if n, distance := nearest(given, values); distance <= 1+len(n)/4 {
		c.fault(at, "%q is unknown; did you mean %q? (%s)", clip(given), n, list)
		return
	}
	c.fault(at, "%q is unknown; want one of %s", clip(given), list)
}

// number checks a float, which must be finite besides.
func (c *checker) number(at string, v float64, b *bounds) {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		c.fault(at, "%s is no finite number", tomlFloat(v))
	case b != nil && !b.holds(v):
		c.fault(at, "%v is out of range; want %s", v, b.words())
	}
}
