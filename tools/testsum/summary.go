package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gorun/tools/skip"
)

// event is one line of go test -json (see cmd/test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// summary collects events. The outputs of tests that pass are dropped as they end.
type summary struct {
	w       io.Writer
	output  map[string][]string // by package and test
	failed  []string            // packages
	skipped []string            // lines
	passed  int                 // tests that passed
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, output: map[string][]string{}}
}

// read takes events until the end of r. Lines that are not events are passed on.
func (s *summary) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(s.w, lines.Text())
			continue
		}
		s.take(e)
	}
	return lines.Err()
}

func (s *summary) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.w, e.Output)
	case "build-fail":
		s.failed = append(s.failed, e.ImportPath)
	case "output":
		s.output[key] = append(s.output[key], e.Output)
	case "pass":
		if e.Test == "" {
			fmt.Fprintf(s.w, "ok    %-32s %6.1f s\n", e.Package, e.Elapsed)
		} else {
			s.passed++
		}
		delete(s.output, key)
	case "skip":
		if e.Test != "" {
			s.skipped = append(s.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, reason(s.output[key])))
		}
		delete(s.output, key)
	case "fail":
		fmt.Fprint(s.w, strings.Join(s.output[key], ""))
		delete(s.output, key)
		if e.Test == "" {
			fmt.Fprintf(s.w, "FAIL  %-32s %6.1f s\n", e.Package, e.Elapsed)
			s.failed = append(s.failed, e.Package)
		}
	}
}

// reason is what the skip helper printed.
func reason(output []string) string {
	_, why, ok := strings.Cut(strings.Join(output, ""), skip.Prefix)
	if !ok {
		return "no reason given"
	}
	why, _, _ = strings.Cut(why, "\n")
	return why
}

// finish prints the totals and returns an error if anything failed or nothing ran. A package of which no end was seen
// has failed too: its output is still here.
func (s *summary) finish(skips string) error {
	slices.Sort(s.skipped)
	fmt.Fprintf(s.w, "%d passed, %d skipped\n", s.passed, len(s.skipped))
	for _, line := range s.skipped {
		fmt.Fprintf(s.w, "skipped and why: %s\n", line)
	}
	if skips != "" {
		if err := appendLines(skips, s.skipped); err != nil {
			return err
		}
	}
	slices.Sort(s.failed)
	s.failed = slices.Compact(s.failed)
	switch {
	case len(s.failed) > 0:
		return fmt.Errorf("failed: %s", strings.Join(s.failed, " "))
	case len(s.output) > 0:
		for key, out := range s.output {
			fmt.Fprintf(s.w, "%s did not end:\n%s", key, strings.Join(out, ""))
		}
		return errors.New("the tests' output stopped early")
	case s.passed == 0:
		return errors.New("no test ran")
	}
	return nil
}

func appendLines(path string, lines []string) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, line := range lines {
		if _, err := fmt.Fprintln(f, line); err != nil {
			return err
		}
	}
	return nil
}
