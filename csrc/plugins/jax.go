package plugins

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// jaxScript prints the folder of JAX's newest CUDA plugin. It imports nothing of JAX.
const jaxScript = `
import importlib.util
for name in ("jax_plugins.xla_cuda13", "jax_plugins.xla_cuda12"):
    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        continue
    for folder in (spec and spec.submodule_search_locations) or ():
        print(folder)
`

// fromJAX returns the CUDA plugin of the JAX that python3 would import, or "". Python's failure is not an error: having
// no JAX is the usual case.
func fromJAX() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", "-c", jaxScript)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	for folder := range strings.Lines(string(out)) {
		path := filepath.Join(strings.TrimSpace(folder), pjrtCUDA)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	return ""
}
