// Package spec describes a decoder-only transformer as data: what config.json (or GGUF metadata) says,
// the names and shapes of its tensors, which linears a LoRA pattern matches, and what it costs in
// parameters and FLOPs. It is pure: no weights, no device, no files beyond what a caller hands in.
package spec
