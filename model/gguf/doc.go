// Package gguf reads GGUF files (llama.cpp's format, versions 2 and 3): their metadata, and rows of their
// tensors as float32.
//
// It owns the format: the checks of an untrusted file, the mapping into memory, the dequantisation of F32,
// F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K, to the bit as the gguf Python package does.
// It does not know what metadata means (model/spec does), map names to Hugging Face's or undo llama.cpp's
// row permutation (model/weights does, and calls it; model/tokenizer reads vocabularies from Meta).
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; block layouts: ggml's ggml-common.h.
package gguf
