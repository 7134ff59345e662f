package hlo

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/go-xla/stablehlo"
	"github.com/gomlx/go-xla/types/shapes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Graph is one program being written.
type Graph struct {
	fn      *stablehlo.Function
	inputs  []device.Shape
	donated []int
	order   Value // token of the last collective; see Order
	kernels []kernels.Call
}

// Value is an array in a program.
type Value struct{ v *stablehlo.Value }

// Valid tells whether the value is set; the zero Value stands for "absent".
func (x Value) Valid() bool { return x.v != nil }

// DType is the element type.
func (x Value) DType() dtypes.DType { return x.v.Shape().DType }

// Dims are the dimensions.
func (x Value) Dims() []int { return x.v.Shape().Dimensions }

// Dim is the size of one axis.
func (x Value) Dim(axis int) int { return x.v.Shape().Dimensions[axis] }

// Build runs write, which declares inputs, emits operations and returns the results, and renders the program.
func Build(name string, write func(g *Graph) []Value) (src device.Source, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("hlo: program %s: %v", name, r)
		}
	}()
	b := stablehlo.New(stablehlo.ConvertToValidName(name))
	g := &Graph{fn: b.Main()}
	results := write(g)
	outs := make([]*stablehlo.Value, len(results))
	shapes := make([]device.Shape, len(results))
	for i, r := range results {
		outs[i], shapes[i] = r.v, device.MakeShape(r.DType(), r.Dims()...)
	}
	if err := g.fn.Return(outs...); err != nil {
		return src, fmt.Errorf("hlo: program %s: %w", name, err)
	}
	code, err := b.Build()
	if err != nil {
		return src, fmt.Errorf("hlo: program %s: %w", name, err)
	}
	return device.Source{Name: name, Code: named(code), Inputs: g.inputs, Outputs: shapes, Donated: g.donated, Kernels: g.kernels}, nil
}

func must(v *stablehlo.Value, err error) Value {
	if err != nil {
		panic(err)
	}
	return Value{v}
}

// Input declares the next argument.
func (g *Graph) Input(s device.Shape) Value {
	g.inputs = append(g.inputs, s)
	return must(g.fn.Input(shapes.Make(s.DType, s.Dims...)))
}

// Donated declares an argument that the caller gives up: its memory becomes result number out, of the same shape.
func (g *Graph) Donated(s device.Shape, out int) Value {
	g.donated = append(g.donated, len(g.inputs))
	g.inputs = append(g.inputs, s)
	return must(g.fn.InputWithAttributes(shapes.Make(s.DType, s.Dims...), map[string]any{"tf.aliasing_output": int32(out)}))
}
