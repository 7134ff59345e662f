// Command gorun fine-tunes Hugging Face language models, with LoRA or fully, on XLA devices.
//
// This package turns flags into calls of other packages and their errors into exit codes. Each command is a struct in
// a file of its own: its fields are the flags, its Run method is the call. Nothing imports this package.
package main
