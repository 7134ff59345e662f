package hlo

import (
	"encoding/json"
	"strconv"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/go-xla/stablehlo"
	"github.com/gomlx/go-xla/types/shapes"
)

// cuDNN's causal flash attention, which XLA's CUDA plugin has as two custom calls. Their names, configuration and
// layouts are those that JAX lowers jax.nn.dot_product_attention to (jax/_src/cudnn/fused_attention_stablehlo.py).
// Keys and values may have fewer heads than queries; each is shared by as many consecutive query heads.

// Sees says what of the keys a query sees, and how.
type Sees struct {
	Scale     float64   // multiplies the scores
	Window    int       // keys up to the query's own; 0 = all of them
	Documents Documents // set where rows are packed; without a window
}

// Documents are those of B packed rows of S tokens: which tokens of all rows, one after the other, each has. A query sees
// its own document. None is longer than S; up to M times B of them are told of.
type Documents struct {
	Lengths Value // int32 [B,M]; beyond the last document 0
	Starts  Value // int32 [B,M+1]; beyond the last document B*S
}

// Valid tells whether documents are told of.
func (d Documents) Valid() bool { return d.Lengths.Valid() }

// each is M, or 1 where rows are not packed.
func (d Documents) each() int {
	if !d.Valid() {
		return 1
	}
	return d.Lengths.Dim(1)
}

// operands are lengths of queries and of keys, and how many numbers are before each document's queries and keys, of
// heads heads and kvHeads heads of size numbers.
func (d Documents) operands(g *Graph, heads, kvHeads, size int) []Value {
	if !d.Valid() {
		return nil
	}
	before := func(n int) Value { return g.Mul(d.Starts, g.Const(dtypes.Int32, float64(n*size))) }
	return []Value{d.Lengths, d.Lengths, before(heads), before(kvHeads)}
}

// FlashAttention is causal attention over q [B,S,H,E], k and v [B,S,K,E] of bfloat16: the output [B,S,H,E], and the
// log-sum-exp of each query's scores [B,H,S] float32, of packed rows [B*M,H,S], by documents.
func (g *Graph) FlashAttention(q, k, v Value, sees Sees) (o, lse Value) {
	b, s, h, e := q.Dim(0), q.Dim(1), q.Dim(2), q.Dim(3)
	operands := append([]Value{q, k, v}, sees.Documents.operands(g, h, k.Dim(2), e)...)
	out := g.cudnn("__cudnn$fmhaSoftmax", fmhaConfig(q.Dims(), sees, fmhaForward), operands,
		shapes.Make(q.DType(), b, h, s, e), shapes.Make(dtypes.Float32, b*sees.Documents.each(), h, s))
	return g.Transpose(out[0], 0, 2, 1, 3), out[1]
}

// FlashAttentionBackward takes what FlashAttention took and gave, and the gradient of its output, and returns those of
// q, k and v, in their shapes and dtype.
func (g *Graph) FlashAttentionBackward(q, k, v, o, lse, do Value, sees Sees) (dq, dk, dv Value) {
	heads := func(x Value) shapes.Shape { return shapes.Make(x.DType(), x.Dim(0), x.Dim(2), x.Dim(1), x.Dim(3)) }
	operands := append([]Value{q, k, v, lse, do, o}, sees.Documents.operands(g, q.Dim(2), k.Dim(2), q.Dim(3))...)
	out := g.cudnn("__cudnn$fmhaSoftmaxBackward", fmhaConfig(q.Dims(), sees, fmhaBackward), operands,
		heads(q), heads(k), heads(v))
	back := func(x Value) Value { return g.Transpose(x, 0, 2, 1, 3) }
	return back(out[0]), back(out[1]), back(out[2])
}

// cudnn emits a call of row-major operands. Results of four axes are declared [B,H,S,E] and lie in memory as [B,S,H,E];
// the last result, which is not returned, is cuDNN's scratch memory: XLA gives it its size.
func (g *Graph) cudnn(target, config string, operands []Value, results ...shapes.Shape) []Value {
	in := make([]*stablehlo.Value, len(operands))
	for i, x := range operands {
		in[i] = x.v
	}
	results = append(results, shapes.Make(dtypes.Uint8, 0))
	layouts := make([][]int, len(results))
	for i, r := range results {
		if r.Rank() == 4 {
			layouts[i] = []int{3, 1, 2, 0}
		}
	}
	out, err := stablehlo.CustomCallV2(target, config, in, make([][]int, len(in)), results, layouts)
	if err != nil {
		panic(err)
	}
	values := make([]Value, len(out)-1)
	for i := range values {
		values[i] = Value{out[i]}
	}
	return values
}

// axes are the dimension numbers of one of attention's batched products, as the protocol buffer's JSON has them.
type axes struct {
	LHSContracting []string `json:"lhs_contracting_dimensions"`
	RHSContracting []string `json:"rhs_contracting_dimensions"`
	LHSBatch       []string `json:"lhs_batch_dimensions"`
	RHSBatch       []string `json:"rhs_batch_dimensions"`
}

// The products of each pass: scores are [B,H,S,S], operands [B,S,H,E].
var (
	ofOperands   = axes{[]string{"3"}, []string{"3"}, []string{"0", "2"}, []string{"0", "2"}}
	ofScores     = axes{[]string{"3"}, []string{"1"}, []string{"0", "1"}, []string{"0", "2"}}
	ofTransposed = axes{[]string{"2"}, []string{"1"}, []string{"0", "1"}, []string{"0", "2"}}

	fmhaForward  = map[string]axes{"bmm1_dot_dimension_numbers": ofOperands, "bmm2_dot_dimension_numbers": ofScores}
	fmhaBackward = map[string]axes{
		"bmm1_grad_gemm1_dot_dimension_numbers": ofTransposed, "bmm1_grad_gemm2_dot_dimension_numbers": ofScores,
		"bmm2_grad_gemm1_dot_dimension_numbers": ofTransposed, "bmm2_grad_gemm2_dot_dimension_numbers": ofOperands,
	}
)

// fmhaConfig is the call's backend_config for queries of dims [B,S,H,E].
func fmhaConfig(dims []int, sees Sees, products map[string]axes) string {
	n, mask := strconv.Itoa, "CAUSAL"
	if sees.Documents.Valid() {
		mask = "PADDING_CAUSAL"
	}
	seq := n(dims[1])
	config := map[string]any{
		"algorithm": map[string]any{
			"algo_id": "0", "math_type": "TENSOR_OP_MATH", "tuning_knobs": map[string]string{"17": "1", "24": "0"},
			"is_cudnn_frontend": true, "workspace_size": "0",
		},
		"fmha_scale": sees.Scale,
		"intermediate_tensor_shape": map[string]any{
			"element_type": "BF16", "dimensions": []string{n(dims[0]), n(dims[2]), seq, seq}, "tuple_shapes": []string{},
			"layout": map[string]any{
				"dim_level_types": []string{}, "dim_unique": []string{}, "dim_ordered": []string{}, "minor_to_major": []string{"3", "2", "1", "0"},
				"tiles": []string{}, "element_size_in_bits": "0", "memory_space": "0", "index_primitive_type": "PRIMITIVE_TYPE_INVALID",
				"pointer_primitive_type": "PRIMITIVE_TYPE_INVALID", "dynamic_shape_metadata_prefix_bytes": "0",
			},
			"is_dynamic_dimension": []bool{false, false, false, false},
		},
		"is_flash_attention": true, "mask_type": mask, "dropout_rate": 0.0, "seed": 42, "sliding_window_length": sees.Window,
		"max_seg_per_batch": sees.Documents.each(), "is_paged_attention": false,
	}
	for name, numbers := range products {
		config[name] = numbers
	}
	text, err := json.Marshal(map[string]any{"operation_queue_id": "0", "cudnn_fmha_backend_config": config})
	if err != nil {
		panic(err) // strings, numbers and lists of them always encode
	}
	return string(text)
}
