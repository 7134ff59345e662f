package main

import "strings"

// foreign are torchrun's flags that a line for gorun has no use for, and why. All others that torchrun has, gorun has.
var foreign = map[string]string{
	"--module":                   "gorun runs its own ranks: name a recipe instead of a program",
	"-m":                         "gorun runs its own ranks: name a recipe instead of a program",
	"--no-python":                "gorun runs its own ranks: name a recipe instead of a program",
	"--run-path":                 "gorun runs its own ranks: name a recipe instead of a program",
	"--start-method":             "ranks are always processes of their own",
	"--role":                     "all ranks have one role",
	"--event-log-handler":        "how a run ended is in verdict.json: see 'gorun why'",
	"--logs-specs":               "logs are files: see --log-dir",
	"--log-line-prefix-template": "lines of several ranks begin with [RANK]",
	"--duplicate-stdout-filters": "logs have all lines",
	"--duplicate-stderr-filters": "logs have all lines",
	"--signals-to-handle":        "SIGTERM, SIGINT and SIGUSR1 ask for a checkpoint",
	"--virtual-local-rank":       "each rank knows its device by LOCAL_RANK",
	"--numa-binding":             "use numactl",
	"--print-completion":         "there is none",
}

// notHere explains the flags of torchrun that are not gorun's, a line each.
func notHere(args []string) string {
	var b strings.Builder
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, _, _ := strings.Cut(arg, "=")
		if why, ok := foreign[name]; ok {
			b.WriteString("torchrun's " + name + ": leave it away: " + why + "\n")
		}
	}
	return b.String()
}
