package plugins

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrMissing is wrapped by errors about something that gorun's setup would install.
var ErrMissing = errors.New("missing")

// EnvPath names, in the environment, a plugin file or a list of folders that hold plugins. GoMLX reads it too.
const EnvPath = "PJRT_PLUGIN_LIBRARY_PATH"

// Option changes how Find looks.
type Option func(*search)

// At makes Find return path, or an error if there is no such file. An empty path changes nothing.
func At(path string) Option { return func(s *search) { s.explicit = path } }

type search struct{ explicit string }

// patterns are the file names of plugins of each kind, the likelier first.
var patterns = map[string][]string{
	CPU:  {"pjrt_c_api_cpu_plugin.so", "pjrt_c_api_cpu_*_plugin.so", "libpjrt_cpu.so"},
	CUDA: {pjrtCUDA, "pjrt_c_api_cuda_plugin.so", "pjrt_c_api_cuda*_plugin.so", "pjrt_c_api_gpu_plugin.so"},
}

// Find returns the absolute path of an XLA plugin of the kind, CPU or CUDA. It looks, in this order, at the path given
// by At, at the files and folders of $PJRT_PLUGIN_LIBRARY_PATH, in gorun's cache, where GoMLX installs plugins, and for
// CUDA in an installation of JAX that python3 sees. What is named but does not exist is an error; if nothing is found
// the error wraps ErrMissing and says the command that installs it.
func Find(kind string, options ...Option) (string, error) {
	var want search
	for _, o := range options {
		o(&want)
	}
	if patterns[kind] == nil {
		return "", fmt.Errorf("plugins: no device kind %q: the kinds are %s and %s", kind, CPU, CUDA)
	}
	if want.explicit != "" {
		return existing(want.explicit, "--plugin")
	}
	if path, err := fromEnv(kind); path != "" || err != nil {
		return path, err
	}
	s, err := defaultStore()
	if err != nil {
		return "", err
	}
	for it := new(s.items[kind]); it != nil; it = it.fallback {
		if path, err := s.installed(*it); err == nil {
			return path, nil
		}
	}
	for _, dir := range goMLXFolders() {
		if path := inFolder(dir, kind); path != "" {
			return path, nil
		}
	}
	if kind == CUDA {
		if path := fromJAX(); path != "" {
			return path, nil
		}
	}
	return "", fmt.Errorf("plugins: XLA's %s plugin is %w: run '%s', or name one by --plugin or %s (looked in %s)",
		kind, ErrMissing, s.items[kind].setup, EnvPath, strings.Join(append([]string{s.dir}, goMLXFolders()...), ", "))
}

// existing makes path absolute and checks that it is a file; where says who named it.
func existing(path, where string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("plugins: %s: %w", where, err)
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", fmt.Errorf("plugins: %s: %w", where, err)
	}
	if info.IsDir() {
		return "", fmt.Errorf("plugins: %s: %s is a folder, not a plugin", where, abs)
	}
	return abs, nil
}

// fromEnv returns "" if the environment names no plugin of the kind.
func fromEnv(kind string) (string, error) {
	for _, entry := range filepath.SplitList(os.Getenv(EnvPath)) {
		if entry == "" {
			continue
		}
		info, err := os.Stat(entry)
		if err != nil {
			return "", fmt.Errorf("plugins: %s: %w: correct or unset it", EnvPath, err)
		}
		if info.IsDir() {
			if path := inFolder(entry, kind); path != "" {
				return path, nil
			}
			continue
		}
		if kindOf(entry) == kind {
			return existing(entry, EnvPath)
		}
	}
	return "", nil
}

// kindOf guesses a plugin file's kind by its name: CUDA plugins say so.
func kindOf(path string) string {
	name := strings.ToLower(filepath.Base(path))
	if strings.Contains(name, "cuda") || strings.Contains(name, "gpu") {
		return CUDA
	}
	return CPU
}

// inFolder returns the plugin of the kind in dir, the one with the highest version if there are several, or "".
func inFolder(dir, kind string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, pattern := range patterns[kind] {
		var names []string
		for _, e := range entries {
			if ok, _ := filepath.Match(pattern, e.Name()); ok {
				names = append(names, e.Name())
			}
		}
		slices.SortFunc(names, func(a, b string) int { return compareVersions(b, a) })
		for _, name := range names {
			if path, err := existing(filepath.Join(dir, name), dir); err == nil {
				return path
			}
		}
	}
	return ""
}

// compareVersions orders names as people do: runs of digits by their value.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		na, nb := digits(a), digits(b)
		if na > 0 && nb > 0 {
			x, y := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits is the length of the run of digits that s begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// goMLXSystem is where GoMLX's installer puts plugins for all users; tests change it.
var goMLXSystem = "/usr/local/lib/gomlx/pjrt"

// goMLXFolders are where GoMLX's installer puts plugins, the user's own first.
func goMLXFolders() []string {
	dirs := []string{goMLXSystem}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append([]string{filepath.Join(home, ".local/lib/gomlx/pjrt")}, dirs...)
	}
	return dirs
}
