// Package tokenizer turns text into token ids and back, exactly as Hugging Face's tokenizers library does for BPE
// models: byte-level (GPT-2, Llama-3, Qwen, SmolLM, Mistral's tekken) and SentencePiece-like with byte fallback
// (Llama-2, Mistral, Phi-3). It reads tokenizer.json (with tokenizer_config.json beside it) and GGUF vocabularies. Each
// token comes with its place in the original text. What it does not know is an error that names it.
//
// A Tokenizer may be used by several goroutines. rank/data, the commands and model/infer's callers use it.
package tokenizer
