package main

type planCmd struct {
	Recipe      string   `arg:"" name:"RECIPE.toml" help:"The recipe: a TOML file, or the name of a shipped recipe."`
	Set         []string `sep:"none" placeholder:"SECTION.KEY=VALUE" help:"Change a value of the recipe. May be given many times."`
	ShowSamples int      `placeholder:"N" help:"Also show the first N samples, with what is trained on marked."`
}
