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

// Lookup returns the text of a shipped recipe. The error of an unknown name has the nearest one, or all there are.
func Lookup(name string) ([]byte, error) {
	text, err := shipped.ReadFile(name + ".toml")
	if err != nil {
		if n, distance := nearest(name, Names()); distance <= 1+len(n)/4 {
			return nil, fmt.Errorf("no recipe %q is shipped; did you mean %s?", name, n)
		}
		return nil, fmt.Errorf("no recipe %q is shipped; there are %s", name, strings.Join(Names(), ", "))
	}
	return text, nil
}
