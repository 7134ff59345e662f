// Package tinymodel is a random model of any family as a Hugging Face folder, for tests.
package tinymodel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"gorun/model/safetensors"
	"gorun/model/spec"
)

// Llama is the config.json of a llama of 2 layers, 32 wide, with a vocabulary of 900 and a tied head.
const Llama = `{"model_type":"llama","hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":4,
"num_key_value_heads":2,"vocab_size":900,"max_position_embeddings":256,"rms_norm_eps":1e-5,"tie_word_embeddings":true,
"hidden_act":"silu","bos_token_id":1,"eos_token_id":2}`

// Write writes the model of a config.json into a folder: its weights in float32, drawn with a fixed seed, vectors about 1
// and matrices about 0, and a copy of the file tokenizer, whose <s> and </s> begin and end a text.
func Write(t testing.TB, dir, config, tokenizer string) {
	t.Helper()
	words, err := os.ReadFile(tokenizer)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config.json": config, "tokenizer.json": string(words), "tokenizer_config.json": `{"bos_token":"<s>","eos_token":"</s>"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := spec.Parse([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var tensors []safetensors.Tensor
	for _, x := range d.Tensors() {
		tensors = append(tensors, safetensors.Tensor{Name: x.Name, DType: dtypes.Float32, Shape: x.Shape, Data: draw(rng, x.Shape)})
	}
	if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
}

// draw makes a tensor's bytes.
func draw(rng *rand.Rand, shape []int) []byte {
	n := 1
	for _, v := range shape {
		n *= v
	}
	data := make([]byte, 0, 4*n)
	for range n {
		v := float32(rng.NormFloat64() * 0.15)
		if len(shape) == 1 {
			v++
		}
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}
