package main

type trainCmd struct {
	Recipe string   `arg:"" name:"RECIPE.toml" help:"The recipe: a TOML file, or the name of a shipped recipe."`
	Set    []string `sep:"none" placeholder:"SECTION.KEY=VALUE" help:"Change a value of the recipe. May be given many times."`
}
