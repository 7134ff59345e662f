package hlo

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gomlx/go-xla/stablehlo"
	"github.com/gomlx/go-xla/types/shapes"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

// Kernel launches a kernel of ours on operands and returns its results, of the given shapes, all of them dense and
// row-major. The program says with which number; the device makes the kernel when it compiles the program.
func (g *Graph) Kernel(call kernels.Call, operands []Value, results ...device.Shape) []Value {
	return g.kernelIn(call, nil, operands, results...)
}

// kernelIn is Kernel where results take the memory of operands: result i that of operand at[i]; those beyond the list
// have their own.
func (g *Graph) kernelIn(call kernels.Call, at []int, operands []Value, results ...device.Shape) []Value {
	in := make([]*stablehlo.Value, len(operands))
	for i, x := range operands {
		in[i] = x.v
	}
	out := make([]shapes.Shape, len(results))
	for i, r := range results {
		out[i] = shapes.Make(r.DType, r.Dims...)
	}
	made, err := stablehlo.CustomCallV2("gorun_kernel", "", in, make([][]int, len(in)), out, make([][]int, len(out)))
	if err != nil {
		panic(err)
	}
	// The builder writes calls of XLA's older interface only.
	attributes := g.fn.Statements[len(g.fn.Statements)-1].Attributes
	attributes["api_version"] = int32(4)
	attributes["backend_config"] = verbatim(fmt.Sprintf("{kernel = %d : i64}", call.ID()))
	if len(at) > 0 {
		attributes["output_operand_aliases"] = verbatim(aliases(at, len(results)))
	}
	g.kernels = append(g.kernels, call)
	values := make([]Value, len(made))
	for i := range values {
		values[i] = Value{made[i]}
	}
	return values
}

// aliases is the attribute that says which operand's memory each result takes. A call of several results has a tuple of
// them.
func aliases(at []int, results int) string {
	list := make([]string, len(at))
	for i, operand := range at {
		place := ""
		if results > 1 {
			place = strconv.Itoa(i)
		}
		list[i] = fmt.Sprintf("#stablehlo.output_operand_alias<output_tuple_indices = [%s], operand_index = %d, operand_tuple_indices = []>", place, operand)
	}
	return "[" + strings.Join(list, ", ") + "]"
}
