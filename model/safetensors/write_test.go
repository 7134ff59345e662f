package safetensors

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gorun/tools/skip"
)

// fullDisk is a file whose every write fails as on a full disk: the kernel's own error, from /dev/full.
type fullDisk struct {
	*os.File
	full *os.File
}

func (d fullDisk) Write(p []byte) (int, error) { return d.full.Write(p) }

func (d fullDisk) Close() error { return errors.Join(d.full.Close(), d.File.Close()) }

func createOnFullDisk(path string) (output, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return fullDisk{f, full}, nil
}

func TestFullDiskLeavesNothing(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		skip.Because(t, "there is no /dev/full")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "adapter_model.safetensors")
	write(t, path, []byte("the one before"))
	for _, n := range []int{4, 8 << 20} { // fails in the flush, and in the middle
		err := writeFile(path, []Tensor{{"a", dtypes.Uint8, []int{n}, make([]byte, n)}}, nil, createOnFullDisk)
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full: ") || !strings.Contains(err.Error(), "nothing was written") {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	onlyFile(t, dir, path, "the one before")
}

func TestFailuresLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	write(t, path, []byte("the one before"))
	a := Tensor{"a", dtypes.Uint8, []int{1}, []byte{7}}
	if err := Write(path, []Tensor{a, a}, nil); err == nil {
		t.Error("duplicate accepted")
	}
	noSync := func(p string) (output, error) { f, err := createExclusive(p); return failingSync{f}, err }
	if err := writeFile(path, []Tensor{a}, nil, noSync); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	onlyFile(t, dir, path, "the one before")

	folder := t.TempDir()
	if err := Write(folder, []Tensor{a}, nil); err == nil || !strings.HasPrefix(err.Error(), "safetensors: write "+folder+": ") {
		t.Errorf("over a folder: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(folder), ".*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	err := Write(filepath.Join(dir, "none", "m.safetensors"), []Tensor{a}, nil)
	if err == nil || !strings.Contains(err.Error(), "the folder does not exist; create it first") {
		t.Errorf("no folder: %v", err)
	}
}

type failingSync struct{ output }

func (failingSync) Sync() error { return syscall.EIO }

func onlyFile(t *testing.T, dir, path, body string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if got := read(t, path); string(got) != body {
		t.Errorf("file was changed to %q", got)
	}
}

func TestWriteReplacesWithUsualMode(t *testing.T) {
	dir := t.TempDir()
	path, usual := filepath.Join(dir, "m.safetensors"), filepath.Join(dir, "usual")
	for range 2 {
		if err := Write(path, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, path); string(got) != "\x08\x00\x00\x00\x00\x00\x00\x00{}      " {
		t.Errorf("empty file is %q", got)
	}
	f, err := os.Create(usual)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want, _ := os.Stat(usual)
	got, _ := os.Stat(path)
	if got.Mode() != want.Mode() {
		t.Errorf("mode %v, other new files have %v", got.Mode(), want.Mode())
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := Tensor{"ok", dtypes.Float32, []int{2}, make([]byte, 8)}
	for _, c := range []struct {
		name     string
		tensors  []Tensor
		metadata map[string]string
		want     []string
	}{
		{"size", []Tensor{{"w", dtypes.BFloat16, []int{2, 3}, make([]byte, 8)}}, nil, []string{`tensor "w": BFloat16 of shape [2 3] takes 12 bytes, got 8`}},
		{"twice", []Tensor{ok, ok}, nil, []string{`tensor "ok": given twice`}},
		{"reserved", []Tensor{{"__metadata__", dtypes.Bool, []int{0}, nil}}, nil, []string{`tensor "__metadata__": not a usable name`}},
		{"not utf-8", []Tensor{{"\xff", dtypes.Bool, []int{0}, nil}}, nil, []string{`tensor "\xff": not a usable name`}},
		{"dtype", []Tensor{{"w", dtypes.Int4, []int{0}, nil}}, nil, []string{`tensor "w": dtype Int4 is not in the format; known: U64`}},
		{"negative", []Tensor{{"w", dtypes.Int8, []int{-1}, nil}}, nil, []string{`tensor "w": impossible shape [-1]`}},
		{"overflow", []Tensor{{"w", dtypes.Int8, []int{math.MaxInt, 3}, nil}}, nil, []string{`impossible shape`}},
		{"metadata", nil, map[string]string{"k": "\xff"}, []string{`metadata "k": not valid UTF-8`}},
		{"all at once", []Tensor{ok, ok, {"w", dtypes.Int8, []int{-1}, nil}}, nil, []string{"given twice", "impossible shape"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Write(filepath.Join(t.TempDir(), "m.safetensors"), c.tensors, c.metadata)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q should say %q", err, want)
				}
			}
		})
	}
}

// TestRoundTrip: what is written is read back, from any order of the arguments to the same bytes.
func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.RuneFrom([]rune("ab.\"\\\n\u2028\U0001f600")), 0, 6, -1), 0, 6, rapid.ID).Draw(t, "names")
		want := make(map[string]Tensor)
		var tensors []Tensor
		for _, name := range names {
			kind := formats[rapid.IntRange(0, len(formats)-1).Draw(t, "dtype")]
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape")
			size := kind.size
			for _, dim := range shape {
				size *= dim
			}
			data := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "data")
			want[name] = Tensor{name, kind.dtype, shape, data}
			tensors = append(tensors, want[name])
		}
		metadata := rapid.MapOfN(rapid.StringMatching(`[a-c\t]{0,3}`), rapid.StringMatching(`[\x00-\x20"]{0,3}`), 0, 3).Draw(t, "metadata")
		path, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		if err := Write(path, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		got, meta, err := ReadAll(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(tensors) {
			t.Fatalf("%d tensors, want %d", len(got), len(tensors))
		}
		for _, g := range got {
			if diff := cmp.Diff(want[g.Name], g); diff != "" {
				t.Fatalf("%q: %s", g.Name, diff)
			}
		}
		if len(meta) != len(metadata) || (len(meta) > 0 && cmp.Diff(metadata, meta) != "") {
			t.Fatalf("metadata %v, want %v", meta, metadata)
		}
		if err := Write(other, rapid.Permutation(tensors).Draw(t, "order"), metadata); err != nil {
			t.Fatal(err)
		}
		first, err1 := os.ReadFile(path)
		second, err2 := os.ReadFile(other)
		if err1 != nil || err2 != nil || !bytes.Equal(first, second) {
			t.Fatalf("bytes depend on the order of arguments: %v %v", err1, err2)
		}
	})
}
