package hlo_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gorun/csrc/device"
	"gorun/csrc/kernels"
)

var dump = flag.String("dump", "", "a folder to write the tests' launches of kernels to, for bench/launch.py")

// launch is one launch of a kernel, for a program that knows nothing of XLA.
type launch struct {
	Name     string   `json:"name"`
	Source   string   `json:"source"`
	Options  []string `json:"options"`
	Grid     [2]int   `json:"grid"`
	Threads  int      `json:"threads"`
	Shared   int      `json:"shared"`
	Operands []string `json:"operands"` // "2x3xbf16"
	Results  []string `json:"results"`
}

var (
	kernelCall = regexp.MustCompile(`(?s)custom_call"\([^)]*\) \{.*?kernel = (\d+) : i64.*?\n *\} : (\([^()]*\)) -> ([^\n]*)`)
	tensorType = regexp.MustCompile(`tensor<([^>]*)>`)
)

// dumpKernels writes the launches of a program that are not there yet.
func dumpKernels(t *testing.T, src device.Source) {
	t.Helper()
	calls := map[int64]kernels.Call{}
	for _, c := range src.Kernels {
		calls[c.ID()] = c
	}
	types := func(text string) (out []string) {
		for _, m := range tensorType.FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
		return out
	}
	found := kernelCall.FindAllStringSubmatch(string(src.Code), -1)
	if len(found) == 0 || len(found) < len(calls) {
		t.Fatalf("%d launches of %d kernels found in\n%s", len(found), len(calls), src.Code)
	}
	for _, m := range found {
		id, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		c := calls[id]
		text, err := json.Marshal(launch{c.Name, c.Source(), kernels.Options(), c.Grid, c.Threads, c.Shared, types(m[2]), types(m[3])})
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s-%x.json", strings.ReplaceAll(c.Name, "/", "_"), id)
		if err := os.WriteFile(filepath.Join(*dump, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
