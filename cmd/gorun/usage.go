package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// customary takes what people try first on any program: nothing, "help [COMMAND]" and "--version".
func customary(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// guidance says what to do about a command line that cannot be parsed.
func guidance(model *kong.Application, args []string) string {
	command, told := "gorun", ""
	switch first := args[0]; {
	case slices.ContainsFunc(model.Children, func(n *kong.Node) bool { return n.Name == first }):
		command = "gorun " + first
	case !strings.HasPrefix(first, "-") && filepath.Ext(first) != ".toml":
		told = fmt.Sprintf("%q is no command of gorun, and was taken for the recipe to train by.\n", first)
	default:
		command = "gorun train"
	}
	return told + notHere(args) + see(command)
}

// given is a flag's value, or what it is otherwise.
func given[T any](flag *T, otherwise T) T {
	if flag == nil {
		return otherwise
	}
	return *flag
}

// see says where the flags of a command are explained.
func see(command string) string { return fmt.Sprintf("See '%s --help'.\n", command) }

// helpOf is a flag's help with its default, where that says something and the help does not say it already.
func helpOf(v *kong.Value) string {
	silent := []string{"", "0", "-1", "-", "true"}
	if v.HasDefault && v.Enum == "" && !slices.Contains(silent, v.Default) &&
		!strings.Contains(v.Help, "("+v.Default) && !strings.Contains(v.Help, "Default") {
		told := *v
		told.Help = fmt.Sprintf("%s (%s).", strings.TrimSuffix(v.Help, "."), v.Default)
		v = &told
	}
	return kong.DefaultHelpValueFormatter(v)
}
