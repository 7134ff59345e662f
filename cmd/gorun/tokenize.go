package main

type tokenizeCmd struct {
	Model  string `required:"" placeholder:"MODEL" help:"Whose tokenizer: a Hugging Face folder, a tokenizer.json, a GGUF file, or a demo model."`
	Decode bool   `help:"Ids in, text out."`
	Input  string `arg:"" optional:"" default:"-" name:"FILE" help:"JSON lines; - is standard input."`
}
