package rank

import (
	"bytes"
	"testing"
)

// heavyConfig has most of its bytes in its blocks.
const heavyConfig = `{"model_type":"llama","hidden_size":128,"intermediate_size":512,"num_hidden_layers":12,"num_attention_heads":4,
"num_key_value_heads":2,"vocab_size":907,"max_position_embeddings":256,"rms_norm_eps":1e-5,"tie_word_embeddings":true,
"hidden_act":"silu","bos_token_id":1,"eos_token_id":2}`

// TestOffload: with the base in host memory a run ends in the same bytes, and its device has never held all of the base.
func TestOffload(t *testing.T) {
	base := tinyBaseOf(t, heavyConfig)
	run := func(set ...string) (adapter []byte, peak float64) {
		t.Helper()
		dir := t.TempDir()
		mustTrain(t, tinyRecipe(t, base, dir, append(set, "step_scheduler.max_steps=3", "dataloader.batch_size=1", remat)...))
		return file(t, dir, "LATEST", "adapter_model.safetensors"), peakOf(t, dir) / gib
	}
	want, most := run()
	got, peak := run(offload)
	if !bytes.Equal(got, want) {
		t.Error("another adapter")
	}
	t.Logf("the device held %.4f GiB, offloaded %.4f", most, peak)
	if !testDevice(t).CUDA && !(peak < 0.6*most) { // a GPU's libraries have scratch memory of their own
		t.Errorf("the device held %.4f GiB, without offloading %.4f", peak, most)
	}
}
