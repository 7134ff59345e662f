package safetensors

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"
)

// TestStreams: a file made on the way has the bytes of one whose data was at hand, also where a tensor is
// larger than what is made at a time.
func TestStreams(t *testing.T) {
	dir := t.TempDir()
	var tensors []Tensor
	var streams []Stream
	for name, shape := range map[string][]int{"wide": {3, chunkBytes / 2}, "long": {chunkBytes/2 + 5, 1}, "vector": {7}, "scalar": {}, "empty": {0, 4}} {
		n := 2
		for _, d := range shape {
			n *= d
		}
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i*7 + i>>13)
		}
		tensors = append(tensors, Tensor{name, dtypes.BFloat16, shape, data})
		rows := 1
		if len(shape) > 0 {
			rows = max(1, shape[0])
		}
		streams = append(streams, Stream{name, dtypes.BFloat16, shape, func(lo, hi int, dst []byte) error {
			copy(dst, data[lo*n/rows:hi*n/rows])
			return nil
		}})
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(Write(a, tensors, nil), WriteStreams(b, streams, nil)); err != nil {
		t.Fatal(err)
	}
	want, errA := os.ReadFile(a)
	got, errB := os.ReadFile(b)
	if err := errors.Join(errA, errB); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want the same %d (%v)", len(got), len(want), err)
	}
}

// TestStreamsFail: what a source cannot give, and what is no tensor, is told, and nothing is left.
func TestStreamsFail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.safetensors")
	broken := errors.New("broken")
	bad := func(int, int, []byte) error { return broken }
	if err := WriteStreams(path, []Stream{{"a", dtypes.Float32, []int{2}, bad}}, nil); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	for name, s := range map[string]Stream{"dtype": {"a", dtypes.InvalidDType, []int{2}, bad}, "shape": {"a", dtypes.Float32, []int{1 << 40, 1 << 40}, bad}} {
		if err := WriteStreams(path, []Stream{s}, nil); err == nil || errors.Is(err, broken) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// TestWriteDir: shards of at most the size asked for, which OpenDir joins again; one file if all fits.
func TestWriteDir(t *testing.T) {
	var tensors []Stream
	for i, rows := range []int{3, 5, 100, 2, 2} {
		tensors = append(tensors, Stream{string(rune('e' - i)), dtypes.Float32, []int{rows, 2}, func(lo, _ int, dst []byte) error {
			for j := range dst {
				dst[j] = byte(i*31 + (lo*8 + j))
			}
			return nil
		}})
	}
	for _, c := range []struct{ maxShard, files int }{{1 << 20, 1}, {70, 3}, {896, 1}, {895, 2}} {
		dir := t.TempDir()
		if err := WriteDir(dir, tensors, map[string]string{"format": "pt"}, int64(c.maxShard)); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.safetensors"))
		if err != nil || len(files) != c.files {
			t.Errorf("at most %d bytes: %v (%v), want %d files", c.maxShard, files, err, c.files)
		}
		set, err := OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tensors {
			want := make([]byte, s.Shape[0]*8)
			fault := s.Fill(0, s.Shape[0], want)
			if got, err := set.Bytes(s.Name); errors.Join(err, fault) != nil || !bytes.Equal(got, want) {
				t.Errorf("at most %d bytes: %s came back otherwise (%v)", c.maxShard, s.Name, err)
			}
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
}
