// Package golden holds what tests get to files that are kept beside them.
package golden

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Rewrite is whether golden files are to be written anew instead of compared with ('make rewrite').
var Rewrite = flag.Bool("rewrite", false, "write golden files anew")

// File tells the test where got differs from the file at path, or writes it there.
func File(t testing.TB, path, got string) {
	t.Helper()
	if *Rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil { //nolint:gosec // as git has it
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s has - where there is + now; if that is right, run 'make rewrite':\n%s", path, diff)
	}
}
