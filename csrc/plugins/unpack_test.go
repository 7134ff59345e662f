package plugins

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnpackRefuses(t *testing.T) {
	tests := []struct {
		name  string
		entry entry
		words string
	}{
		{"parent", entry{name: "../evil.so", body: "x"}, "leave its folder"},
		{"inner parent", entry{name: "a/../../evil.so", body: "x"}, "leave its folder"},
		{"absolute", entry{name: "/evil.so", body: "x"}, "leave its folder"},
		{"link", entry{name: "evil.so", body: "/etc/passwd", mode: fs.ModeSymlink | 0o777}, "not a plain file"},
	}
	keep := []string{"*.so", "*/*.so", "*/*/*.so", "*/*/*/*.so"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, "w.whl")
			writeZip(t, path, []entry{tt.entry})
			_, err := unpack(path, filepath.Join(root, "in", "tree"), keep)
			if err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("got %v, want %q", err, tt.words)
			}
			if list, _ := filepath.Glob(filepath.Join(root, "*.so")); len(list) > 0 {
				t.Errorf("wrote %v", list)
			}
		})
	}
}

func TestUnpackModes(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "w.whl")
	writeZip(t, path, []entry{{name: "bin/ptxas", body: "tool", mode: 0o775}, {name: "lib/x.so", body: "lib"}, {name: "lib/x.h", body: "text"}})
	files, err := unpack(path, filepath.Join(root, "tree"), []string{"bin/*", "lib/*.so*"})
	if err != nil || len(files) != 2 || files[0] != (manifestFile{"bin/ptxas", 4}) {
		t.Fatalf("got %v, %v", files, err)
	}
	for name, want := range map[string]bool{"bin/ptxas": true, "lib/x.so": false} {
		info, err := os.Stat(filepath.Join(root, "tree", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode()&0o100 != 0; got != want {
			t.Errorf("%s may be executed: %v, want %v", name, got, want)
		}
	}
}

// FuzzUnpack: whatever the archive, nothing is written outside the folder, and nothing but plain files inside.
func FuzzUnpack(f *testing.F) {
	for i, entries := range [][]entry{
		{{name: "a/lib.so", body: "x"}},
		{{name: "../x.so", body: "x"}, {name: "a.dist-info/LICENSE", body: "y"}},
		{{name: "l.so", body: "/tmp", mode: fs.ModeSymlink | 0o777}},
	} {
		path := filepath.Join(f.TempDir(), strings.Repeat("w", i+1))
		writeZip(f, path, entries)
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		path := filepath.Join(root, "w.whl")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		tree := filepath.Join(root, "in", "tree")
		files, err := unpack(path, tree, []string{"*", "*/*", "*/*/*"})
		for _, file := range files {
			if info, statErr := os.Lstat(filepath.Join(tree, filepath.FromSlash(file.Path))); err == nil && (statErr != nil || info.Size() != file.Size) {
				t.Errorf("%v is not what was written (%v)", file, statErr)
			}
		}
		err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (!d.Type().IsRegular() || p != path && !strings.HasPrefix(p, tree+"/")) {
				t.Errorf("wrote %s (%v)", p, d.Type())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
