// Package export writes what training made in the formats that others load, and reads it back: the adapter
// folder of Hugging Face PEFT (also as vLLM serves it), a merged Hugging Face folder, a merged GGUF file, and
// a GGUF adapter.
//
// It owns the names, the layout and the validation of those files, and the sum of base and adapter, made row
// by row while a file is written. It does not know how an adapter was trained, which rank holds it, or what
// a device is: rank verifies what is written. rank/ckpt calls it for every checkpoint, rank for exports and
// peft.init_from, and cmd/gorun for generate and eval.
package export
