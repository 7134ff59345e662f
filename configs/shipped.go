package configs

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.toml
var shipped embed.FS

// Names lists the shipped recipes, sorted.
func Names() []string {
	entries, err := shipped.ReadDir(".")
	if err != nil {
		panic(fmt.Sprintf("configs: embedded recipes: %v", err))
	}
	list := make([]string, len(entries))
	for i, e := range entries {
		list[i] = strings.TrimSuffix(e.Name(), ".toml")
	}
	return list
}

// Lookup returns the text of a shipped recipe. The error of an unknown name lists those there are.
func Lookup(name string) ([]byte, error) {
	text, err := shipped.ReadFile(name + ".toml")
	if err != nil {
		return nil, fmt.Errorf("no recipe %q is shipped; there are %s", name, strings.Join(Names(), ", "))
	}
	return text, nil
}
