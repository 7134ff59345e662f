// Command testsum reads the output of go test -json and prints what a person wants of it: a line for each package, all
// output of what failed, and at the end the tests that were skipped and why.
//
//	go test -json ./... | testsum -skips FILE
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	skips := flag.String("skips", "", "file to which the list of skipped tests is appended")
	flag.Parse()
	s := newSummary(os.Stdout)
	err := s.read(os.Stdin)
	if err == nil {
		err = s.finish(*skips)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
}
