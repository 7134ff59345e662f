// Package weights opens the base of a fine-tuning: a Hugging Face folder (config.json and safetensors)
// or a GGUF file. It gives the decoder's description and its tensors by slice of rows, under their
// Hugging Face names, converted to float32 or bfloat16. Files are memory-mapped: only what is read is
// touched.
//
// It owns name mapping, llama.cpp's row order, dtype conversion, the check that a checkpoint has exactly
// the tensors that its config promises, and the digest that identifies a base. It does not download,
// write, or know devices and shards; the file formats themselves are in model/safetensors and model/gguf.
//
// Callers: fsdp's loader (each rank reads the rows of its own shard), model/export (merge), rank/ckpt
// (the digest), and the tokenizer's loader, through TokenizerPath or Meta.
package weights
