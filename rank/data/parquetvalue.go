package data

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
)

// value assembles a column's value from its leaves, as the Dremel paper has it: repetition levels say where lists go on,
// definition levels where something is null. Lists of either layout, structs and maps with text keys become JSON.
func (r parquetRecord) value(field string) (json.RawMessage, bool, error) {
	c, ok := r.columns[field]
	if !ok {
		return nil, false, nil
	}
	a := assembler{leaves: map[int][]parquet.Value{}}
	for _, v := range r.values {
		a.leaves[v.Column()] = append(a.leaves[v.Column()], v)
	}
	a.node(c.node)
	if a.err != nil {
		return nil, false, fmt.Errorf("column %q: %w", field, a.err)
	}
	raw := json.RawMessage(a.out.String())
	return raw, kindOf(raw) != "", nil
}

// assembler writes one value; leaves are what is left of each leaf's values.
type assembler struct {
	leaves map[int][]parquet.Value
	out    strings.Builder
	err    error
}

// head is the next value of a node's first leaf; ok is false where there is none.
func (a *assembler) head(c *parquet.Column) (v parquet.Value, ok bool) {
	for !c.Leaf() {
		if len(c.Columns()) == 0 {
			return v, false
		}
		c = c.Columns()[0]
	}
	if len(a.leaves[c.Index()]) == 0 {
		return v, false
	}
	return a.leaves[c.Index()][0], true
}

// skip drops the next value of every leaf below a node: they say together that it is null or empty.
func (a *assembler) skip(c *parquet.Column) {
	if c.Leaf() {
		if left := a.leaves[c.Index()]; len(left) > 0 {
			a.leaves[c.Index()] = left[1:]
		}
		return
	}
	for _, child := range c.Columns() {
		a.skip(child)
	}
}

// node writes a node, all its repetitions included.
func (a *assembler) node(c *parquet.Column) {
	if !c.Repeated() {
		a.once(c, false)
		return
	}
	a.repeated(c, func() { a.once(c, false) })
}

// repeated writes a list: one element for each repetition of c.
func (a *assembler) repeated(c *parquet.Column, element func()) {
	first, ok := a.head(c)
	if !ok || first.DefinitionLevel() < c.MaxDefinitionLevel() {
		a.skip(c)
		a.out.WriteString("[]")
		return
	}
	a.out.WriteByte('[')
	for more := true; more && a.err == nil; {
		element()
		v, ok := a.head(c)
		if more = ok && v.RepetitionLevel() >= c.MaxRepetitionLevel(); more {
			a.out.WriteByte(',')
		}
	}
	a.out.WriteByte(']')
}

// once writes one occurrence of a node. bare tells that the node is the struct around a list's element and has no name
// of its own.
func (a *assembler) once(c *parquet.Column, bare bool) {
	v, ok := a.head(c)
	if !ok || c.Optional() && v.DefinitionLevel() < c.MaxDefinitionLevel() {
		a.skip(c)
		a.out.WriteString("null")
		return
	}
	children := c.Columns()
	switch {
	case c.Leaf():
		a.skip(c)
		a.leaf(c, v)
	case bare && len(children) == 1:
		a.node(children[0])
	case isList(c):
		list := children[0]
		a.repeated(list, func() { a.once(list, !list.Leaf()) })
	case isMap(c):
		a.mapping(children[0])
	default:
		a.object(children)
	}
}

// isList tells whether a group is a list: by its type, or, of older writers, by its one child that repeats.
func isList(c *parquet.Column) bool {
	children := c.Columns()
	return len(children) == 1 && children[0].Repeated() && !isMap(c)
}

// isMap tells whether a group is a map: its one child repeats and has a key and a value.
func isMap(c *parquet.Column) bool {
	children := c.Columns()
	if len(children) != 1 || !children[0].Repeated() || children[0].Leaf() {
		return false
	}
	pair := children[0].Columns()
	return len(pair) == 2 && pair[0].Name() == "key" && pair[1].Name() == "value" && pair[0].Leaf() && isText(pair[0])
}

func (a *assembler) object(children []*parquet.Column) {
	a.out.WriteByte('{')
	for i, child := range children {
		if i > 0 {
			a.out.WriteByte(',')
		}
		a.text(child.Name())
		a.out.WriteByte(':')
		a.node(child)
	}
	a.out.WriteByte('}')
}

// mapping writes the pairs of a map as an object.
func (a *assembler) mapping(pairs *parquet.Column) {
	first, ok := a.head(pairs)
	if !ok || first.DefinitionLevel() < pairs.MaxDefinitionLevel() {
		a.skip(pairs)
		a.out.WriteString("{}")
		return
	}
	a.out.WriteByte('{')
	key, value := pairs.Columns()[0], pairs.Columns()[1]
	for more := true; more && a.err == nil; {
		a.once(key, false)
		a.out.WriteByte(':')
		a.node(value)
		v, ok := a.head(pairs)
		if more = ok && v.RepetitionLevel() >= pairs.MaxRepetitionLevel(); more {
			a.out.WriteByte(',')
		}
	}
	a.out.WriteByte('}')
}

// leaf writes a single value.
func (a *assembler) leaf(c *parquet.Column, v parquet.Value) {
	switch {
	case v.IsNull():
		a.out.WriteString("null")
	case isText(c):
		a.text(string(v.ByteArray()))
	case c.Type().Kind() == parquet.Boolean:
		fmt.Fprint(&a.out, v.Boolean())
	case c.Type().Kind() == parquet.Int32 || c.Type().Kind() == parquet.Int64:
		fmt.Fprint(&a.out, v.Int64())
	case c.Type().Kind() == parquet.Float:
		a.number(float64(v.Float()))
	case c.Type().Kind() == parquet.Double:
		a.number(v.Double())
	default:
		a.err = fmt.Errorf("%s values of type %s are not read", c.Name(), c.Type())
	}
}

// number writes a float; JSON has no infinities.
func (a *assembler) number(f float64) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		a.out.WriteString("null")
		return
	}
	fmt.Fprint(&a.out, f)
}

func (a *assembler) text(s string) {
	if !utf8.ValidString(s) {
		a.err = errNotUTF8
		return
	}
	raw, err := json.Marshal(s)
	if err != nil {
		a.err = err
		return
	}
	a.out.Write(raw)
}
