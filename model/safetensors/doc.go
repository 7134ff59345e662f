// Package safetensors reads and writes safetensors files, one or sharded with an index, by slice.
//
// It owns the format: the header and its checks, the mapping of a file into memory, the bytes that the
// reference library would write. Files are untrusted: every offset, shape and name is checked before a
// byte of data is handed out. It does not convert dtypes, know Hugging Face's tensor names or decide which
// rank reads what; model/weights, model/export and rank/ckpt do, and call it.
//
// Format: https://github.com/huggingface/safetensors#format (checked against version 0.8.0).
package safetensors
