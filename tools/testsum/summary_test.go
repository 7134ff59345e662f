package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run gives the summary of events, and the error that ends testsum.
func run(t *testing.T, skips, events string) (string, error) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	err := s.finish(skips)
	return out.String(), err
}

func TestSkipsAreListed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	out, err := run(t, file, `{"Action":"output","Package":"p","Test":"TestA","Output":"    x_test.go:3: skipped because no GPU\n"}
{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1.5}
{"Action":"skip","Package":"empty"}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok    p", "1 passed, 1 skipped", "skipped and why: p TestA: no GPU"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	if strings.Contains(out, "noise") {
		t.Errorf("a passing test's output is shown: %s", out)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "p TestA: no GPU\n" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestFailures(t *testing.T) {
	tests := []struct{ name, events, want, shown string }{
		{"a test", `{"Action":"output","Package":"p","Test":"TestA","Output":"a_test.go:1: bad\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p"}`, "failed: p", "a_test.go:1: bad"},
		{"a build", `{"Action":"build-output","ImportPath":"p","Output":"x.go:1: syntax\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p"}`, "failed: p", "x.go:1: syntax"},
		{"cut short", `{"Action":"output","Package":"p","Test":"TestA","Output":"so far\n"}`, "stopped early", "so far"},
		{"nothing", "no packages to test", "no test ran", "no packages to test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := run(t, "", tt.events)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(out, tt.shown) {
				t.Errorf("got %v after %q, want %q after %q", err, out, tt.want, tt.shown)
			}
		})
	}
}
