package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"gorun/tools/golden"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gorun": main})
}

// TestScript runs testdata/script: each file is a command line session with the files that it needs and what must come
// of it. A script's cache is empty; `gorun` is this package, in a process of its own.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *golden.Rewrite,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORUN_CACHE", env.WorkDir+"/cache")
			env.Setenv("PIP_CONFIG_FILE", os.DevNull)
			bin, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
			env.Setenv("BIN", bin) // where gorun is, and nothing else
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "gomlx" { // plugins of GoMLX for all users of this machine
				return false, fmt.Errorf("no condition is called %q", cond)
			}
			_, err := os.Stat("/usr/local/lib/gomlx/pjrt")
			return err == nil, nil
		},
	})
}

// exits runs a command that must end with the exit code: exits CODE PROGRAM [ARGUMENT]...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT]...")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("exits: %v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
