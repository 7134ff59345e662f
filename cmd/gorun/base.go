package main

// baseFlags name a model, for the commands that run one.
type baseFlags struct {
	Base    string `required:"" placeholder:"MODEL" help:"The base: a Hugging Face folder, a GGUF file, or a demo model (demo:smollm2-135m)."`
	Adapter string `placeholder:"FOLDER" help:"PEFT adapter to put on the base."`
}
