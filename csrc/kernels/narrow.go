package kernels

import _ "embed"

//go:embed float8.cuh
var float8Text string

//go:embed tile8.cuh
var tile8Text string

//go:embed narrow.cu
var narrowText string

//go:embed one_unit.cu
var oneUnitText string

// Narrow rounds rows of Width numbers to 8-bit floats, each in a unit of its own.
type Narrow struct{ Rows, Width int }

// Fits tells whether there is a kernel for the sizes.
func (n Narrow) Fits() bool { return Norm{Rows: n.Rows, Width: n.Width}.Fits() }

// Call takes x [T,D] bfloat16; it gives the same in E4M3, and the rows' units and lengths [T] float32. It needs sm_89.
func (n Narrow) Call() Call {
	return Norm{Rows: n.Rows, Width: n.Width}.call("narrow_rows", narrowText, map[string]any{})
}

// OneUnit brings rows of Width 8-bit floats, whose Units parts, as wide as each other, each have a unit, to one unit a row.
type OneUnit struct{ Rows, Width, Units int }

// Call takes x [T,D] in E4M3 and the units of its rows' parts [T,Units] float32; it gives the same in the greatest of each
// row's units, and those [T] float32. It needs sm_89.
func (o OneUnit) Call() Call {
	const threads = 256
	constants := map[string]any{"D": o.Width, "UNITS": o.Units, "THREADS": threads, "BLOCKS": 8}
	return Call{
		Name: "one_unit", Text: define(float8Text+greatestText+oneUnitText, constants),
		Grid: [2]int{o.Rows, 1}, Threads: threads, Shared: threads / 32 * 4,
	}
}
