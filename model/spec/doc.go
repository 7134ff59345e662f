// Package spec describes a decoder-only transformer as data: what config.json (or GGUF metadata) says,
// the names and shapes of its tensors, its rotary frequencies, which linears a LoRA pattern matches, and
// what it costs in parameters and FLOPs. It is pure: no weights, no device, no files beyond what a
// caller hands in. It does not know how a block is computed (package model does), nor where a tensor's
// bytes lie (package weights does).
//
// Callers: model/weights parses and checks a checkpoint with it, model builds its programs from a
// Decoder, model/export writes names from it, and the plan subcommand prints MatchLinears and Params.
package spec
