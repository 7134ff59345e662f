package plugins

import (
	"os"
	"path/filepath"
)

// ncclLibrary is the file name of NCCL.
const ncclLibrary = "libnccl.so.2"

// NCCL returns what to load NCCL by, given XLA's CUDA plugin: the library that the plugin itself finds beside it, in
// NVIDIA's wheels, since a process must not have two; without one the bare name, for the system to find.
func NCCL(plugin string) string {
	path := filepath.Join(filepath.Dir(plugin), "..", "..", "nvidia", "nccl", "lib", ncclLibrary)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return path
	}
	return ncclLibrary
}
