package rank

import (
	"strings"
	"testing"

	"gorun/model/tinymodel"
)

// TestServing: the plan says what will serve the adapter, by the same rules as the export.
func TestServing(t *testing.T) {
	llama, granite := tinyBase(t), tinyBaseOf(t, strings.Replace(tinymodel.Llama, `"model_type":"llama"`, `"model_type":"granite"`, 1))
	for _, c := range []struct {
		base string
		set  []string
		want []string
	}{
		{llama, nil, []string{"\nserving     by vLLM with --max-lora-rank 8, by llama.cpp as a GGUF adapter (gorun export)\n"}},
		{llama, []string{`peft.dim_pattern={ "*.q_proj" = 24 }`}, []string{"--max-lora-rank 32,"}},
		{llama, []string{"peft.dim=513"}, []string{"\nserving     by llama.cpp as a GGUF adapter (gorun export)\n", "not by vLLM as an adapter: modules of Dim 513, and vLLM serves at most 512: merge"}},
		{llama, []string{"peft.use_dora=true", "peft.dropout=0", "peft.modules_to_save=embed_tokens"}, []string{"\nserving     merged into the base (gorun merge), not as an adapter: the adapter is DoRA's", "; the adapter has modules_to_save"}},
		{granite, nil, []string{"\nserving     by vLLM with --max-lora-rank 8 (gorun export)\n", "not by llama.cpp as an adapter: "}},
	} {
		plan := planOf(t, tinyRecipe(t, c.base, t.TempDir(), c.set...))
		for _, want := range c.want {
			if !strings.Contains(plan, want) {
				t.Errorf("%v: %q is not in the plan\n%s", c.set, want, plan)
			}
		}
	}
	if plan := planOf(t, tinyRecipe(t, llama, t.TempDir(), "peft.scheme=none", "peft.dropout=0")); strings.Contains(plan, "serving") {
		t.Errorf("a full fine-tuning has no adapter\n%s", plan)
	}
}

func TestPlural(t *testing.T) {
	for want, got := range map[string]string{
		"1 epoch": plural(1, "epoch"), "3 epochs": plural(3, "epoch"), "0 rows": plural(0, "row"), "2 micro-batches": plural(2, "micro-batch"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
