// Package skip is the one way in which gorun's tests skip themselves, so that every skip says why and `make test` can
// list them all at its end. Only tests call it.
package skip

import "testing"

// Prefix begins every skip message; tools/testsum looks for it.
const Prefix = "skipped because "

// Because skips the test; reason completes the sentence "skipped because ...".
func Because(t testing.TB, reason string) {
	t.Helper()
	t.Skip(Prefix + reason)
}

// InShort skips the test under `go test -short`; what says what would be run.
func InShort(t testing.TB, what string) {
	t.Helper()
	if testing.Short() {
		Because(t, "-short is set: "+what)
	}
}
