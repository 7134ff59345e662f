package plugins

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// home is a user without plugins, python3 and environment; returns the home folder.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	system := goMLXSystem
	t.Cleanup(func() { goMLXSystem = system })
	goMLXSystem = filepath.Join(dir, "system")
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("GORUN_CACHE", "")
	t.Setenv(EnvPath, "")
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	return dir
}

// touch makes a file with its folders and returns its path.
func touch(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("so"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// fakeInstall makes the item look installed and returns its path.
func fakeInstall(t *testing.T, it item) string {
	t.Helper()
	s, err := defaultStore()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.dir, it.folder())
	path := touch(t, dir, it.file)
	if err := writeManifest(dir, []manifestFile{{it.file, 2}}); err != nil {
		t.Fatal(err)
	}
	return path
}

// expect fails unless Find gives want.
func expect(t *testing.T, want, kind string, options ...Option) {
	t.Helper()
	if got, err := Find(kind, options...); err != nil || got != want {
		t.Errorf("Find(%s) = %q, %v; want %q", kind, got, err, want)
	}
}

// Each place in turn beats those before it, from the last in the order to the first.
func TestFindOrder(t *testing.T) {
	dir := home(t)
	for _, kind := range []string{CPU, CUDA} {
		_, err := Find(kind)
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "run '"+pinned[kind].setup+"'") {
			t.Errorf("nothing there: %v", err)
		}
	}
	folder := filepath.Join(dir, ".local/lib/gomlx/pjrt")
	touch(t, folder, "pjrt_c_api_cpu_v0.83.4_plugin.so")
	expect(t, touch(t, folder, "pjrt_c_api_cpu_v0.100.1_plugin.so"), CPU)
	expect(t, touch(t, folder, "pjrt_c_api_cpu_plugin.so"), CPU)
	expect(t, touch(t, folder, "pjrt_c_api_cuda_v0.83.4_plugin.so"), CUDA)

	expect(t, fakeInstall(t, cpuFallback), CPU)
	expect(t, fakeInstall(t, cpuPlugin), CPU)
	expect(t, fakeInstall(t, cudaPlugin), CUDA)

	mine := filepath.Join(dir, "mine")
	cpu, cuda := touch(t, mine, "libpjrt_cpu.so"), touch(t, mine, pjrtCUDA)
	t.Setenv(EnvPath, t.TempDir()+":"+mine)
	expect(t, cpu, CPU)
	expect(t, cuda, CUDA)
	other := touch(t, dir, "my_plugin.so")
	t.Setenv(EnvPath, other+":"+mine)
	expect(t, other, CPU)
	expect(t, cuda, CUDA)

	expect(t, cuda, CPU, At(cuda))
	expect(t, other, CPU, At(""))
}

func TestFindRefuses(t *testing.T) {
	dir := home(t)
	if _, err := Find("tpu"); err == nil || !strings.Contains(err.Error(), "cpu and cuda") {
		t.Errorf("an unknown kind: %v", err)
	}
	fakeInstall(t, cpuPlugin)
	for _, path := range []string{filepath.Join(dir, "none.so"), dir} {
		if got, err := Find(CPU, At(path)); err == nil || !strings.Contains(err.Error(), "--plugin") {
			t.Errorf("At(%s) = %q, %v", path, got, err)
		}
	}
	t.Setenv(EnvPath, filepath.Join(dir, "none"))
	if got, err := Find(CPU); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), EnvPath) {
		t.Errorf("the environment names nothing: %q, %v", got, err)
	}
}

// A JAX installation that python3 sees is the last place for CUDA.
func TestFindInJAX(t *testing.T) {
	path := os.Getenv("PATH")
	dir := home(t)
	t.Setenv("PATH", path)
	site := filepath.Join(dir, "site")
	want := touch(t, site, "jax_plugins/xla_cuda13", pjrtCUDA)
	touch(t, site, "jax_plugins/xla_cuda13/__init__.py") // importing it would fail: it holds "so"
	t.Setenv("PYTHONPATH", site)
	expect(t, want, CUDA)
	if got, err := Find(CPU); !errors.Is(err, ErrMissing) {
		t.Errorf("Find(cpu) = %q, %v", got, err)
	}
}

func TestResolve(t *testing.T) {
	home(t)
	if got, err := Resolve("org/model"); got != "org/model" || err != nil {
		t.Errorf("another model: %q, %v", got, err)
	}
	if _, err := Resolve("demo:none"); err == nil || !strings.Contains(err.Error(), DemoModel) || strings.Contains(err.Error(), CUDA) {
		t.Errorf("an unknown demo model: %v", err)
	}
	if _, err := Resolve(DemoModel); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "gorun setup --demo") {
		t.Errorf("not installed: %v", err)
	}
	want := fakeInstall(t, demoModel)
	if got, err := Resolve(DemoModel); got != want || err != nil {
		t.Errorf("installed: %q, %v", got, err)
	}
}

func TestManifestRefuses(t *testing.T) {
	for _, body := range []string{"", "{", `{"files":[]}`, `{"files":[{"path":"../x","size":1}]}`, `{"files":[{"path":"none","size":1}]}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, manifestName), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkManifest(dir); err == nil {
			t.Errorf("%q was accepted", body)
		}
	}
}

func TestCacheDir(t *testing.T) {
	dir := home(t)
	for _, step := range []struct{ key, value, want string }{
		{"HOME", dir, dir + "/.cache/gorun"},
		{"XDG_CACHE_HOME", "/xdg", "/xdg/gorun"},
		{"GORUN_CACHE", "/mine", "/mine"},
	} {
		t.Setenv(step.key, step.value)
		if got, err := CacheDir(); got != step.want || err != nil {
			t.Errorf("with %s: %q, %v", step.key, got, err)
		}
	}
}
