package weights

import (
	"fmt"
	"strings"

	"gorun/model/spec"
)

// ggufModules maps a module inside a block to llama.cpp's name. Fused gate and up are ffn_up there.
var ggufModules = map[string]string{
	"input_layernorm":          "attn_norm",
	"post_attention_layernorm": "ffn_norm",
	"self_attn.q_proj":         "attn_q",
	"self_attn.k_proj":         "attn_k",
	"self_attn.v_proj":         "attn_v",
	"self_attn.qkv_proj":       "attn_qkv",
	"self_attn.o_proj":         "attn_output",
	"self_attn.q_norm":         "attn_q_norm",
	"self_attn.k_norm":         "attn_k_norm",
	"mlp.gate_proj":            "ffn_gate",
	"mlp.up_proj":              "ffn_up",
	"mlp.gate_up_proj":         "ffn_up",
	"mlp.down_proj":            "ffn_down",
}

// GGUFName gives llama.cpp's name of a Hugging Face tensor; "" when it has none.
func GGUFName(name string) string {
	switch name {
	case spec.EmbedTensor:
		return "token_embd.weight"
	case spec.NormTensor:
		return "output_norm.weight"
	case spec.HeadTensor:
		return "output.weight"
	}
	rest, ok := strings.CutPrefix(name, "model.layers.")
	if !ok {
		return ""
	}
	layer, rest, _ := strings.Cut(rest, ".")
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return ""
	}
	module, ok := ggufModules[rest[:dot]]
	if !ok {
		return ""
	}
	return fmt.Sprintf("blk.%s.%s%s", layer, module, rest[dot:])
}

// GGUFPairsRows says whether llama.cpp's converter has reordered the rows of a tensor. It does so to q and k
// of the architectures whose rotary embedding it computes on neighbouring values.
func GGUFPairsRows(arch, name string) bool {
	return (arch == "llama" || arch == "smollm3") &&
		(strings.Contains(name, ".self_attn.q_proj.") || strings.Contains(name, ".self_attn.k_proj."))
}

// pairedRow gives the row of a GGUF tensor that holds a Hugging Face row. A head's two halves lie one
// after the other in Hugging Face's order, and alternate in llama.cpp's.
func pairedRow(row, headDim int) int {
	head, i := row/headDim, row%headDim
	half, j := i/(headDim/2), i%(headDim/2)
	return head*headDim + 2*j + half
}

// HuggingFaceRow is the inverse of pairedRow: the Hugging Face row that a row of a reordered GGUF tensor holds.
func HuggingFaceRow(row, headDim int) int {
	head, i := row/headDim, row%headDim
	return head*headDim + i%2*(headDim/2) + i/2
}
