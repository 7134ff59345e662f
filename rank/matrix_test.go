package rank

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"gorun/csrc/device/devicetest"
	"gorun/tools/skip"
)

// matrix is every kind of mesh; each takes 8 samples a step, or 6.
var matrix = []mesh{
	{"dp2", 2, 1, 1, 2, 2, nil},
	{"dp4", 4, 1, 1, 2, 1, nil},
	{"hsdp2x2", 4, 1, 1, 1, 2, []string{hsdp}},
	{"dp3 uneven", 3, 1, 1, 1, 2, nil},
	{"ddp2 without reshard", 2, 1, 1, 2, 2, []string{hsdp, keep}},
	{"dp2 remat", 2, 1, 1, 2, 2, []string{remat, keep}},
	{"tp2", 1, 1, 2, 2, 4, nil},
	{"tp2 sp", 1, 1, 2, 2, 4, []string{sequence}},
	{"cp2", 1, 2, 1, 2, 4, nil},
	four,
	{"dp2 x cp2", 2, 2, 1, 2, 2, nil},
	{"cp2 x tp2", 1, 2, 2, 2, 4, []string{remat}},
	eight,
}

// unevenConfig has sizes that 2 ranks or 4 do not divide: the vocabulary, the hidden size, what a part of the MLP has.
const unevenConfig = `{"model_type":"llama","hidden_size":38,"head_dim":8,"intermediate_size":50,"num_hidden_layers":3,
"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":907,"max_position_embeddings":256,"rms_norm_eps":1e-5,
"tie_word_embeddings":false,"hidden_act":"silu","attention_bias":true,"bos_token_id":1,"eos_token_id":2}`

// familyBase is a random model of a family of the model's goldens.
func familyBase(t *testing.T, family string) string {
	t.Helper()
	config := file(t, "..", "model", "testdata", "golden", family, "config.json")
	for pattern, by := range map[string]string{
		`"vocab_size": *\d+`:            `"vocab_size": 907`,
		`"output_router_logits": *true`: `"output_router_logits": false`, // the auxiliary loss is of whole rows
	} {
		config = regexp.MustCompile(pattern).ReplaceAll(config, []byte(by))
	}
	return tinyBaseOf(t, string(config))
}

const packed = "packed_sequence.packed_sequence_size=64"

// TestMatrix is TestMeshes with every kind of mesh, LoRA and full, padded and packed, in two families, and one mesh of
// all axes for each other family: make matrix.
func TestMatrix(t *testing.T) {
	if os.Getenv("GORUN_TEST_MATRIX") == "" {
		skip.Because(t, "it takes many minutes: make matrix")
	}
	devicetest.CPUOnly(t)
	t.Run("llama uneven", func(t *testing.T) {
		base := tinyBaseOf(t, unevenConfig)
		lora.compare(t, base, append(matrix, mesh{"dp2 offloaded", 2, 1, 1, 2, 2, []string{offload}}), val)
		full.compare(t, base, matrix)
		for _, s := range []scheme{lora, full} {
			t.Run("packed", func(t *testing.T) { s.compare(t, base, matrix[6:], packed, "step_scheduler.num_epochs=12") })
		}
	})
	t.Run("phi3", func(t *testing.T) { // fused products, a window
		base := familyBase(t, "phi3")
		lora.compare(t, base, matrix)
		full.compare(t, base, matrix[6:])
	})
	all := []mesh{{"dp2 x cp2 x tp2", 2, 2, 2, 1, 2, []string{sequence}}}
	// Norms over all heads and experts are not split over tensor-parallel parts; see model.Split.Check.
	unsplit := []mesh{{"dp3 uneven", 3, 1, 1, 1, 2, nil}, {"dp2 x cp2", 2, 2, 1, 1, 2, []string{remat}}}
	special := map[string][]mesh{"olmo2": unsplit, "mixtral": unsplit, "qwen3_moe": unsplit}
	families, err := filepath.Glob(filepath.Join("..", "model", "testdata", "golden", "*"))
	if err != nil || len(families) < 9 {
		t.Fatalf("%d families: %v", len(families), err)
	}
	for _, dir := range families {
		family := filepath.Base(dir)
		t.Run(family, func(t *testing.T) {
			base := familyBase(t, family)
			meshes, set := all, []string{}
			if special[family] != nil {
				meshes, set = special[family], []string{"peft.match_all_linear=true", "peft.target_modules=[]", "peft.dropout=0"} // experts too
			}
			lora.compare(t, base, meshes, set...)
			full.compare(t, base, meshes)
		})
	}
}
