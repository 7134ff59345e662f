package kernels

import _ "embed"

//go:embed float8.cuh
var float8Text string

//go:embed narrow.cu
var narrowText string

// Narrow rounds rows of Width numbers to 8-bit floats, each in a unit of its own.
type Narrow struct{ Rows, Width int }

// Fits tells whether there is a kernel for the sizes.
func (n Narrow) Fits() bool { return Norm{Rows: n.Rows, Width: n.Width}.Fits() }

// Call takes x [T,D] bfloat16; it gives the same in E4M3, and the rows' units [T] float32. It needs sm_89.
func (n Narrow) Call() Call {
	return Norm{Rows: n.Rows, Width: n.Width}.call("narrow_rows", float8Text+narrowText, map[string]any{})
}
