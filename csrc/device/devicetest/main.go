package devicetest

import (
	"fmt"
	"os"
	"testing"
)

// executablesFolder names the folder of compiled programs that processes of tests share.
const executablesFolder = "GORUN_TEST_EXECUTABLES"

// executables is that folder; "" = this package's tests compile all that they run.
var executables string

// Main runs the tests of a package, for its TestMain. A program that several tests and the processes that they start run
// is compiled once for all of them, and in "make test" once for all packages and for both passes, with the race detector
// and without, for neither changes what XLA compiles. Tests of compiling itself go without Main.
func Main(m *testing.M) {
	executables = os.Getenv(executablesFolder)
	if executables == "" {
		dir, err := os.MkdirTemp("", "gorun-executables-*")
		if err != nil {
			panic(fmt.Errorf("devicetest: %w", err))
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, "devicetest:", err)
			}
		}()
		if err := os.Setenv(executablesFolder, dir); err != nil { // for processes of the tests
			panic(fmt.Errorf("devicetest: %w", err))
		}
		executables = dir
	}
	m.Run()
}
