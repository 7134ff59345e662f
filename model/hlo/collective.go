package hlo

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/go-xla/stablehlo"
	"github.com/gomlx/go-xla/types/shapes"
)

// Collectives inside a program: XLA's typed custom calls to handlers of csrc, by the same names on every platform. All
// of a program's are chained by a token, which orders them alike wherever the program runs: programs of different parts
// differ, and XLA may reorder what does not depend on each other.

// Communicator is the set that a collective is among: its size, and the number by which the process knows it.
type Communicator struct {
	Parts  int
	Number int32
}

// AllReduce is the sum of all parts' x. what names it in errors.
func (g *Graph) AllReduce(c Communicator, what string, x Value) Value {
	return g.collective("gorun_all_reduce", c, what, x, x.Dims())
}

// AllGather joins all parts' x along axis 0.
func (g *Graph) AllGather(c Communicator, what string, x Value) Value {
	dims := slices.Clone(x.Dims())
	dims[0] *= c.Parts
	return g.collective("gorun_all_gather", c, what, x, dims)
}

// ReduceScatter is this part's share, along axis 0, of the sum of all parts' x.
func (g *Graph) ReduceScatter(c Communicator, what string, x Value) Value {
	dims := slices.Clone(x.Dims())
	if dims[0]%c.Parts != 0 {
		panic(fmt.Sprintf("reduce-scatter %s: %d rows do not divide into %d parts", what, dims[0], c.Parts))
	}
	dims[0] /= c.Parts
	return g.collective("gorun_reduce_scatter", c, what, x, dims)
}

// Order starts the chain of collectives. A loop with collectives in it needs it, or a collective, before it.
func (g *Graph) Order() {
	if !g.order.Valid() {
		g.order = g.Full(dtypes.Int32, 0, 1)
	}
}

func (g *Graph) collective(target string, c Communicator, what string, x Value, dims []int) Value {
	g.Order()
	out, err := stablehlo.CustomCallV2(target, "", []*stablehlo.Value{x.v, g.order.v}, make([][]int, 2),
		[]shapes.Shape{shapes.Make(x.DType(), dims...), g.order.v.Shape()}, make([][]int, 2))
	if err != nil {
		panic(err)
	}
	// The builder writes calls of XLA's older interface only.
	attributes := g.fn.Statements[len(g.fn.Statements)-1].Attributes
	attributes["api_version"] = int32(4)
	attributes["backend_config"] = verbatim(fmt.Sprintf("{comm = %d : i32, what = %q}", c.Number, what))
	attributes["has_side_effect"] = true
	g.order = Value{out[1]}
	return Value{out[0]}
}

// verbatim is the text of an attribute.
type verbatim string

// ToStableHLO is what the builder writes.
func (v verbatim) ToStableHLO() string { return string(v) }
