package ckpt

import (
	"os"
	"testing"
)

// children are the parts of tests that run in a process of their own; see child.
var children = map[string]func(){"save": saveForever, "hold": holdLock}

func TestMain(m *testing.M) {
	if part, ok := children[os.Getenv(childEnv)]; ok {
		part()
		return
	}
	os.Exit(m.Run())
}
