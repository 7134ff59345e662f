package safetensors

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/google/go-cmp/cmp"
)

// The fixtures come from the reference library; tools/oracle/formats.py writes them.

// TestReferenceFile reads a file of the reference library and writes its bytes again.
func TestReferenceFile(t *testing.T) {
	for _, name := range []string{"all", "plain"} {
		path := filepath.Join("testdata", name+".safetensors")
		tensors, metadata, err := ReadAll(path)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(tensors) // Write must find the order by itself
		again := filepath.Join(t.TempDir(), "again.safetensors")
		if err := Write(again, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		if want, got := read(t, path), read(t, again); !bytes.Equal(want, got) {
			t.Errorf("%s: bytes differ from the reference:\nwant %q\ngot  %q", name, want, got)
		}
	}
}

func TestReferenceValues(t *testing.T) {
	f := open(t, "testdata/all.safetensors")
	if diff := cmp.Diff(map[string]string{"format": "pt"}, f.Metadata()); diff != "" {
		t.Error(diff)
	}
	if n := len(f.Names()); n != 25 {
		t.Errorf("%d tensors, want 25", n)
	}
	for _, c := range []struct {
		name string
		info Info
		data []float32
	}{
		{"scalar", Info{dtypes.Float32, []int{}}, []float32{-2.5}},
		{"empty", Info{dtypes.Float32, []int{0, 7}}, nil},
		{"also empty", Info{dtypes.Float32, []int{3, 0}}, nil},
		{"layers.10.w", Info{dtypes.Float32, []int{1, 2, 3}}, []float32{0, 1, 2, 3, 4, 5}},
		{"\u00e9 \"quoted\" \\ \b\t\n\v\f\r\x01\x7f <&> \u2028 \U0001f600 /", Info{dtypes.Float32, []int{4}}, []float32{0, 1, 2, 3}},
	} {
		info, ok := f.Info(c.name)
		if diff := cmp.Diff(c.info, info); !ok || diff != "" {
			t.Errorf("%q: found %v, %s", c.name, ok, diff)
		}
		data, err := f.Bytes(c.name)
		if err != nil {
			t.Error(err)
		}
		if !bytes.Equal(data, f32Bytes(c.data...)) {
			t.Errorf("%q: %v, want %v", c.name, data, c.data)
		}
	}
	for name, want := range map[string]dtypes.DType{
		"t.complex64": dtypes.Complex64, "t.float8_e4m3fn": dtypes.F8E4M3FN, "t.float8_e8m0fnu": dtypes.F8E8M0FNU,
		"t.bfloat16": dtypes.BFloat16, "t.bool": dtypes.Bool, "t.uint64": dtypes.Uint64, "t.int8": dtypes.Int8,
	} {
		if info, ok := f.Info(name); !ok || info.DType != want {
			t.Errorf("%s: %v, want %v", name, info.DType, want)
		}
	}
}

// TestVerdicts holds our reading of damaged files against the reference's.
func TestVerdicts(t *testing.T) {
	var cases []struct {
		Name    string
		File    []byte
		Refused bool
	}
	if err := json.Unmarshal(read(t, "testdata/verdicts.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 50 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		_, err := parse(c.File)
		if refused := err != nil; refused != c.Refused {
			t.Errorf("%s: refused %v (%v), the reference %v", c.Name, refused, err, c.Refused)
		}
	}
}

func TestOpenDirSharded(t *testing.T) {
	s, err := OpenDir("testdata/sharded")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if diff := cmp.Diff([]string{"a", "b", "c"}, s.Names()); diff != "" {
		t.Error(diff)
	}
	if info, ok := s.Info("c"); !ok || info.DType != dtypes.BFloat16 || !slices.Equal(info.Shape, []int{2, 3}) {
		t.Errorf("c: %v %v", info, ok)
	}
	if data, err := s.Bytes("c"); err != nil || !bytes.Equal(data, bytes.Repeat([]byte{0xc0, 0x3f}, 6)) {
		t.Errorf("c: %v %v", data, err)
	}
	if data, err := s.Bytes("b"); err != nil || !bytes.Equal(data, f32Bytes(0, 1, 2, 3)) {
		t.Errorf("b: %v %v", data, err)
	}
	if diff := cmp.Diff(map[string]string{"format": "pt"}, s.Metadata()); diff != "" {
		t.Error(diff)
	}
	if _, ok := s.Info("d"); ok {
		t.Error("d is not there")
	}
	if _, err := s.Bytes("d"); err == nil || !strings.Contains(err.Error(), `no tensor "d"`) {
		t.Errorf("d: %v", err)
	}
}

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func f32Bytes(values ...float32) []byte {
	var out []byte
	for _, v := range values {
		b := math.Float32bits(v)
		out = append(out, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
	}
	return out
}
