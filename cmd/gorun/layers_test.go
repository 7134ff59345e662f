package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorun/tools/golden"
)

// layer is a package's row in the table of layers.
type layer struct {
	pkg  string
	does string   // its one responsibility
	may  []string // the packages of ours that it may import; "model/*" is every package below model, "*" is all
}

// layers is the whole table: a package that is not in it may not exist, and one that is must. docs/architecture.md shows the same table.
var layers = []layer{
	{"csrc", "all C: the PJRT C API, XLA FFI handlers, the CUDA driver and NCCL; all by dlopen; as thin Go functions", nil},
	{"csrc/kernels", "gorun's GPU kernels as CUDA C text, and for which sizes each is made", nil},
	{"csrc/plugins", "where XLA plugins and the demo model come from: find, install, resolve", nil},
	{"csrc/device", "one device: client, buffers, programs, events, streams; asynchronous", []string{"csrc", "csrc/kernels"}},
	{"csrc/device/devicetest", "the CPU device for tests, and their leak check", []string{"csrc/device", "csrc/kernels", "csrc/plugins", "tools/skip"}},
	{"collective", "the mesh and its communicators; move and reduce device buffers among ranks", []string{"csrc", "csrc/device"}},
	{"configs", "a run as typed values: defaults, strict TOML, validation; the shipped recipes", nil},
	{"model", "a decoder block with LoRA as compiled programs: forward, backward, head and loss, optimizer maths", []string{"configs", "csrc/device", "csrc/kernels", "model/*"}},
	{"model/spec", "a decoder as data, from config.json or GGUF's metadata", nil},
	{"model/weights", "the base's tensors by their Hugging Face names, by rows, from any format", []string{"model/spec", "model/safetensors", "model/gguf"}},
	{"model/hlo", "programs in short names over go-xla's stablehlo builder; returns a device.Source", []string{"csrc/device", "csrc/kernels"}},
	{"model/mapped", "map files of tensors into memory", nil},
	{"model/safetensors", "read and write safetensors, by slice", []string{"model/mapped"}},
	{"model/gguf", "read and write GGUF, by slice", []string{"model/mapped"}},
	{"model/tokenizer", "tokenizer.json and GGUF vocabularies to ids and back", nil},
	{"model/chat", "conversations to text by chat templates, and which of it the assistant wrote", []string{"model/chat/jinja"}},
	{"model/chat/jinja", "Jinja chat templates, exactly as transformers renders them, bounded", nil},
	{"model/hub", "the Hugging Face Hub: cache, tokens, resume, offline, upload", nil},
	{"model/hub/hubtest", "a Hub in memory, for tests", nil},
	{"model/tinymodel", "a random model, for tests", []string{"model/spec", "model/safetensors"}},
	{"model/infer", "prefill and decode with a KV cache; sampling; scoring", []string{"model", "model/tokenizer", "csrc/device"}},
	{"model/export", "PEFT adapter, merged Hugging Face folder, merged GGUF, GGUF adapter, adapter for vLLM", []string{"model/spec", "model/weights", "model/safetensors", "model/gguf", "model/tokenizer"}},
	{"fsdp", "who holds which shard and when it is whole; gradient reduction; sharded AdamW; clipping", []string{"collective", "csrc/device"}},
	{"launcher/rdzv", "agree on ranks and on how a run ended", nil},
	{"launcher/gossip", "agents find each other, and carry each other's messages", []string{"launcher/rdzv"}},
	{"launcher/kernellog", "what the kernel says it did to processes and GPUs", nil},
	{"launcher", "child processes, log fan-in, failure verdicts, restarts, signals", []string{"launcher/gossip", "launcher/kernellog", "launcher/rdzv"}},
	{"launcher/netns", "machines for tests: network namespaces on a switch that loses frames", []string{"launcher", "tools/skip"}},
	{"launcher/doctor", "examine nodes: collect facts, judge them, compare them with the others'", []string{"launcher/inventory", "launcher/kernellog"}},
	{"launcher/inventory", "this node's GPUs by NVML: which there are, which are visible, how well they are, which CPUs are near", nil},
	{"launcher/slurm", "Slurm's environment, the key of a job, batch scripts, requeue", nil},
	{"rank/data", "datasets, prompt formats, loss masks, packing, sampler, prefetching loader; resumable order", []string{"configs", "model/tokenizer", "model/chat", "rank/data/demo"}},
	{"rank/data/demo", "the demo's question-answering set, embedded", nil},
	{"rank/squad", "SQuAD's official exact match and F1", nil},
	{"rank/ckpt", "save and restore: adapter, optimizer, RNG, data position; atomic publish; retention", []string{"fsdp", "model/export", "model/safetensors"}},
	{"rank/metrics", "step line, progress bar, JSONL, TensorBoard, W&B, Prometheus; what ran where", nil},
	{"rank/report", "a run's records as one page of HTML", []string{"rank/metrics"}},
	{"rank/card", "what is published of a run: its files, and its model card", []string{"configs", "model/export", "model/hub", "model/safetensors", "rank/ckpt", "rank/metrics"}},
	{"rank/trace", "what a device and its host did, as XLA's profiler recorded it: in numbers, and for trace viewers", nil},
	{"rank", "joins the parts; the step; the loop; validation", []string{"csrc", "csrc/*", "collective", "configs", "model", "model/*", "fsdp", "rank/*"}},
	{"cmd/gorun", "flags to a call; errors to exit codes", []string{"*"}},
	{"bench/scale", "what a step would take on clusters that are not there, on paper", []string{"model/spec", "model/weights"}},
	{"tools/localhub", "the tests' Hub, for other programs to talk to", []string{"model/hub/hubtest"}},
	{"tools/golden", "what tests get, and the files that say what it should be", nil},
	{"tools/skip", "how tests skip themselves", nil},
	{"tools/countdown", "a context that ends after so many questions, for tests", nil},
	{"tools/smalldisk", "file systems that are soon full, for tests", []string{"tools/skip"}},
	{"tools/syncbuf", "a buffer for what several goroutines write, for tests", nil},
	{"tools/testsum", "a summary of go test's output, with what was skipped and why", []string{"tools/skip"}},
}

// forTests are packages that any test may import; model/gguf reads the demo model.
var forTests = []string{"csrc/device/devicetest", "model/gguf", "model/hub/hubtest", "model/tinymodel", "tools/countdown", "tools/golden", "tools/skip", "tools/smalldisk", "tools/syncbuf"}

// keepers says who alone may import something from outside; the longest matching prefix counts.
var keepers = []struct {
	prefix string
	pkgs   []string
}{
	{"C", []string{"csrc"}},
	{"unsafe", []string{"csrc", "csrc/device"}},
	{"github.com/gomlx/gopjrt", []string{"csrc/device"}},
	{"github.com/NVIDIA/go-nvml", []string{"launcher/inventory"}},
	{"github.com/gomlx/go-xla", nil}, // its pjrt cannot be linked beside gopjrt's
	{"github.com/gomlx/go-xla/stablehlo", []string{"model", "model/hlo"}},
	{"github.com/gomlx/go-xla/types", []string{"model", "model/hlo"}},
}

// allowed returns "" if pkg may import path, else why not. All paths of ours are relative to the module.
func allowed(pkg, path string, ours, test bool) string {
	if !ours {
		best := -1
		for i, k := range keepers {
			if within(path, k.prefix) && (best < 0 || len(k.prefix) > len(keepers[best].prefix)) {
				best = i
			}
		}
		if best >= 0 && !slices.Contains(keepers[best].pkgs, pkg) {
			return fmt.Sprintf("only %v may", keepers[best].pkgs)
		}
		return ""
	}
	if path == pkg || test && slices.Contains(forTests, path) {
		return ""
	}
	row := slices.IndexFunc(layers, func(l layer) bool { return l.pkg == pkg })
	if row < 0 {
		return "the importing package is not in the table of layers"
	}
	for _, m := range layers[row].may {
		if m == path || m == "*" || strings.HasSuffix(m, "/*") && strings.HasPrefix(path, strings.TrimSuffix(m, "*")) {
			return ""
		}
	}
	return fmt.Sprintf("the table of layers gives it %v", layers[row].may)
}

// within tells whether an import path is prefix or below it.
func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// TestLayers holds the whole repository to the table and to the rules of source_test.go.
func TestLayers(t *testing.T) {
	root := moduleRoot(t)
	faults, packages := inspect(t, root)
	for _, f := range faults {
		t.Error(f)
	}
	for _, l := range layers {
		if !slices.Contains(packages, l.pkg) {
			t.Errorf("package %s of the table of layers is not there: the walk found %v", l.pkg, packages)
		}
	}
}

// TestLayersCatch: each forbidden thing in a small tree is found.
func TestLayersCatch(t *testing.T) {
	tests := []struct{ name, file, body, want string }{
		{"fine", "rank/x.go", `package rank; import ("fmt"; "gorun/fsdp"; "gorun/model/spec")`, ""},
		{"arrow up", "fsdp/x.go", `package fsdp; import _ "gorun/model"`, "fsdp imports model"},
		{"leaf", "model/gguf/x.go", `package gguf; import _ "gorun/model/spec"`, "model/gguf imports model/spec"},
		{"launcher", "rank/x.go", `package rank; import _ "gorun/launcher"`, "rank imports launcher"},
		{"in a test", "fsdp/x_test.go", `package fsdp_test; import (_ "gorun/fsdp"; _ "gorun/rank")`, "fsdp imports rank"},
		{"test helper", "model/x_test.go", `package model; import _ "gorun/csrc/device/devicetest"`, ""},
		{"test helper in code", "model/x.go", `package model; import _ "gorun/csrc/device/devicetest"`, "imports csrc/device/devicetest"},
		{"new package", "model/new/x.go", `package new`, "not in the table"},
		{"behind a build tag", "fsdp/x.go", "//go:build never\n\npackage fsdp\n\nimport _ \"gorun/model\"", "fsdp imports model"},
		{"cgo", "collective/x.go", `package collective; import "C"`, `imports C`},
		{"cgo at home", "csrc/x.go", `package csrc; import "C"`, ""},
		{"unsafe", "model/x.go", `package model; import _ "unsafe"`, "imports unsafe"},
		{"gopjrt", "csrc/x.go", `package csrc; import _ "github.com/gomlx/gopjrt/pjrt"`, "imports github.com/gomlx/gopjrt/pjrt"},
		{"go-xla's pjrt", "model/x.go", `package model; import _ "github.com/gomlx/go-xla/pjrt"`, "imports github.com/gomlx/go-xla/pjrt"},
		{"stablehlo", "model/hlo/x.go", `package hlo; import _ "github.com/gomlx/go-xla/stablehlo"`, ""},
		{"stablehlo elsewhere", "fsdp/x.go", `package fsdp; import _ "github.com/gomlx/go-xla/stablehlo"`, "imports github.com/gomlx/go-xla/stablehlo"},
		{"exit", "fsdp/x.go", `package fsdp; import "os"; func f() { os.Exit(1) }`, "os.Exit"},
		{"fatal", "rank/x.go", `package rank; import "log"; func f() { log.Fatalf("x") }`, "log.Fatalf"},
		{"skip", "fsdp/x_test.go", `package fsdp; import "testing"; func TestX(t *testing.T) { t.Skip("later") }`, "t.Skip"},
		{"no package clause", "fsdp/x.go", `import "fmt"`, "expected 'package'"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, tt.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.body), 0o600); err != nil {
				t.Fatal(err)
			}
			faults, _ := inspect(t, root)
			got := strings.Join(faults, "; ")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

const tableStart, tableEnd = "<!-- layers: cmd/gorun/layers_test.go -rewrite -->\n", "<!-- end of layers -->\n"

// TestLayersDoc: docs/architecture.md shows this table.
func TestLayersDoc(t *testing.T) {
	var table strings.Builder
	table.WriteString("| package | one responsibility | may import (ours) |\n|---|---|---|\n")
	for _, l := range layers {
		may := "none"
		if len(l.may) > 0 {
			may = "`" + strings.Join(l.may, "` `") + "`"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", l.pkg, l.does, may)
	}
	fmt.Fprintf(&table, "\nTests may also import `%s`.\n", strings.Join(forTests, "`, `"))
	path := filepath.Join(moduleRoot(t), "docs", "architecture.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), tableStart)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q ... %q", path, tableStart, tableEnd)
	}
	if old == table.String() {
		return
	}
	if !*golden.Rewrite {
		t.Fatalf("%s shows another table: run 'make rewrite'", path)
	}
	if err := os.WriteFile(path, []byte(before+tableStart+table.String()+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
