package plugins

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStore is a store in a new folder with one item, "thing", of the wheels.
func newStore(t testing.TB, wheels ...wheel) store {
	t.Helper()
	it := item{name: "thing", setup: "gorun setup", wheels: wheels, file: strings.ReplaceAll(wheels[0].name, "-", "_") + "/lib.so"}
	return store{filepath.Join(t.TempDir(), "plugins"), map[string]item{"thing": it}}
}

// entries are the names in the store's folder, lock files excepted.
func (s store) entries(t testing.TB) []string {
	t.Helper()
	list, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestInstall(t *testing.T) {
	dir := index(t)
	s := newStore(t, publish(t, dir, "one", "first"), publish(t, dir, "two", "second"))
	it := s.items["thing"]
	if _, err := s.installed(it); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "run 'gorun setup'") {
		t.Fatalf("before: %v", err)
	}
	stale := filepath.Join(s.dir, it.folder()+".partial-1")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	if err := s.install(t.Context(), it, &log); err != nil {
		t.Fatal(err)
	}
	path, err := s.installed(it)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "first" {
		t.Errorf("%s holds %q, %v", path, b, err)
	}
	if b, err := os.ReadFile(filepath.Join(filepath.Dir(path), "../gorun_two/lib.so")); err != nil || string(b) != "second" {
		t.Errorf("the second wheel's file holds %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "__init__.py")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that nobody needs was unpacked (%v)", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "../gorun_one-1.0.dist-info/licenses/LICENSE")); err != nil {
		t.Errorf("the licence: %v", err)
	}
	if got := s.entries(t); len(got) != 1 {
		t.Errorf("the cache holds %v", got)
	}
	if !strings.Contains(log.String(), "downloading gorun-one 1.0 (1 MiB), 1 of 2") {
		t.Errorf("progress: %s", log.String())
	}

	// Again: nothing is asked of pip.
	t.Setenv("PATH", "")
	if err := s.install(t.Context(), it, &log); err != nil {
		t.Errorf("installed already: %v", err)
	}
}

// A damaged installation is noticed and repaired.
func TestRepair(t *testing.T) {
	dir := index(t)
	s := newStore(t, publish(t, dir, "one", "first"))
	it := s.items["thing"]
	var log strings.Builder
	if err := s.install(t.Context(), it, &log); err != nil {
		t.Fatal(err)
	}
	path, err := s.installed(it)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.installed(it); !errors.Is(err, ErrMissing) {
		t.Fatalf("truncated file: %v", err)
	}
	if err := s.install(t.Context(), it, &log); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "first" {
		t.Errorf("after repair: %q, %v", b, err)
	}
}

func TestFallback(t *testing.T) {
	dir := index(t)
	second := publish(t, dir, "two", "second")
	absent := second
	absent.name = "gorun-absent"
	s := newStore(t, absent)
	it := s.items["thing"]
	it.fallback = &item{name: "thing", setup: "gorun setup", wheels: []wheel{second}, file: "gorun_two/lib.so"}
	var log strings.Builder
	if err := s.install(t.Context(), it, &log); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "second choice, gorun-two") {
		t.Errorf("progress does not say that the second choice was taken: %s", log.String())
	}
	if _, err := s.installed(*it.fallback); err != nil {
		t.Error(err)
	}
}

// Each failure is told in words, and leaves nothing in the cache.
func TestInstallFails(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(t *testing.T, w *wheel)
		want    error
		words   string
	}{
		{"no python", func(t *testing.T, _ *wheel) { t.Setenv("PATH", t.TempDir()) }, errNoPython, "install Python 3 with pip"},
		{"no pip", func(t *testing.T, _ *wheel) {
			venv := filepath.Join(t.TempDir(), "venv")
			if out, err := exec.Command("python3", "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Setenv("PATH", filepath.Join(venv, "bin"))
		}, errNoPip, "apt install python3-pip"},
		{"other hash", func(_ *testing.T, w *wheel) { w.sha256 = strings.Repeat("0", 64) }, errHash, "sha256 differs"},
		{"not published", func(_ *testing.T, w *wheel) { w.version = "2.0" }, errNotPublished, "gorun-one==2.0"},
		{"nothing inside", func(_ *testing.T, w *wheel) { w.keep = nil }, nil, "table of wheels is wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := publish(t, index(t), "one", "first")
			tt.arrange(t, &w)
			s := newStore(t, w)
			var log strings.Builder
			err := s.install(t.Context(), s.items["thing"], &log)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.words)
			}
			if got := s.entries(t); len(got) != 0 {
				t.Errorf("the cache holds %v", got)
			}
		})
	}
}

func TestNoNetwork(t *testing.T) {
	t.Setenv("PIP_CONFIG_FILE", os.DevNull)
	t.Setenv("PIP_NO_INDEX", "")
	t.Setenv("PIP_FIND_LINKS", "")
	t.Setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
	w := wheel{name: "gorun-one", version: "1.0", sha256: strings.Repeat("0", 64)}
	_, err := pipDownload(t.Context(), "python3", w, filepath.Join(t.TempDir(), "wheel"))
	if !errors.Is(err, errNetwork) {
		t.Errorf("got %v", err)
	}
}

func TestPipError(t *testing.T) {
	fault := errors.New("exit status 1")
	tests := []struct {
		out  string
		want error
	}{
		{"/usr/bin/python3: No module named pip", errNoPip},
		{"ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", errHash},
		{"ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", errDiskFull},
		{"WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution found for x==1", errNetwork},
		{"ERROR: HTTP error 503 Server Error: busy", errNetwork},
		{"ERROR: Could not find a version that satisfies the requirement x==1\nERROR: No matching distribution found", errNotPublished},
		{"ERROR: something else", fault},
	}
	for _, tt := range tests {
		err := pipError(fault, tt.out)
		if !errors.Is(err, tt.want) {
			t.Errorf("%q gives %v, want %v", tt.out, err, tt.want)
		}
		if errors.Is(tt.want, errDiskFull) && !strings.Contains(explainDiskFull(err, "/c").Error(), "set GORUN_CACHE") {
			t.Errorf("%q does not say what to do: %v", tt.out, explainDiskFull(err, "/c"))
		}
	}
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	if err := explainDiskFull(full, "/c"); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "disk of /c is full") {
		t.Errorf("got %v", err)
	}
}

// Two at once: one installs, the other waits and finds it done.
func TestInstallTwiceAtOnce(t *testing.T) {
	dir := index(t)
	s := newStore(t, publish(t, dir, "one", "first"))
	var logs [2]strings.Builder
	var errs [2]error
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() { errs[i] = s.install(t.Context(), s.items["thing"], &logs[i]) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logs[0].String()+logs[1].String(), "downloading"); n != 1 {
		t.Errorf("%d downloads", n)
	}
}

func TestPinned(t *testing.T) {
	t.Setenv("GORUN_CACHE", t.TempDir())
	for name, it := range pinned {
		for choice := &it; choice != nil; choice = choice.fallback {
			if choice.name != name || choice.setup == "" || choice.file == "" || len(choice.wheels) == 0 {
				t.Errorf("%s: incomplete: %+v", name, choice)
			}
			kept := false
			for _, w := range choice.wheels {
				if len(w.sha256) != 64 || strings.Trim(w.sha256, "0123456789abcdef") != "" {
					t.Errorf("%s: %s: %q is no sha256", name, w.name, w.sha256)
				}
				kept = kept || wanted(choice.file, w.keep)
			}
			if !kept {
				t.Errorf("%s: no wheel keeps %s", name, choice.file)
			}
		}
	}
	if err := Install(t.Context(), []string{"tpu"}, nil); err == nil || !strings.Contains(err.Error(), "cpu, cuda, demo:smollm2-135m") {
		t.Errorf("an unknown name: %v", err)
	}
}
