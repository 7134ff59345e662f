package plugins

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// entry is one file of a test's wheel.
type entry struct {
	name, body string
	mode       os.FileMode
}

// writeZip writes a zip archive with the entries.
func writeZip(t testing.TB, path string, entries []entry) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode == 0 {
			e.mode = 0o644
		}
		h.SetMode(e.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// index makes pip see the wheels of a new folder and no other source, and returns the folder.
func index(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PIP_CONFIG_FILE", os.DevNull)
	t.Setenv("PIP_NO_INDEX", "1")
	t.Setenv("PIP_FIND_LINKS", dir)
	return dir
}

// publish puts a wheel of package gorun-NAME, with a file gorun_NAME/lib.so of the given body, into the index.
func publish(t testing.TB, index, name, body string) wheel {
	t.Helper()
	pkg := "gorun_" + name
	path := filepath.Join(index, pkg+"-1.0-py3-none-manylinux_2_27_x86_64.whl")
	info := pkg + "-1.0.dist-info/"
	writeZip(t, path, []entry{
		{name: pkg + "/__init__.py", body: "raise SystemError"},
		{name: pkg + "/lib.so", body: body, mode: 0o755},
		{name: info + "licenses/LICENSE", body: "free"},
		{name: info + "METADATA", body: fmt.Sprintf("Metadata-Version: 2.1\nName: gorun-%s\nVersion: 1.0\nRequires-Python: >=3.12\n", name)},
		{name: info + "WHEEL", body: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-manylinux_2_27_x86_64\n"},
		{name: info + "RECORD", body: ""},
	})
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return wheel{name: "gorun-" + name, version: "1.0", sha256: hex.EncodeToString(sum[:]), mib: 1, keep: []string{pkg + "/*.so"}}
}
