package gguf

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gomlx/compute/dtypes/float16"
	"github.com/google/go-cmp/cmp"

	"gorun/tools/skip"
)

// The fixtures come from the gguf Python package; tools/oracle/formats.py writes them.

// golden is the float32 values of every readable tensor of all.gguf, in the file's order.
func golden(t testing.TB) map[string][]float32 {
	t.Helper()
	f := open(t, "testdata/all.gguf")
	raw := read(t, "testdata/all.f32")
	values := make(map[string][]float32)
	for _, info := range f.Tensors() {
		if types[info.Type].decode == nil {
			continue
		}
		list := make([]float32, count(info))
		for i := range list {
			list[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		raw = raw[4*len(list):]
		values[info.Name] = list
	}
	if len(raw) != 0 {
		t.Fatalf("%d bytes of golden values left over", len(raw))
	}
	return values
}

func TestDequantAsPython(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	seen := make(map[Type]bool)
	for name, want := range golden(t) {
		info, _ := f.Info(name)
		seen[info.Type] = true
		got := make([]float32, len(want))
		if err := f.DequantRows(name, 0, info.Shape[0], got); err != nil {
			t.Fatal(err)
		}
		sameBits(t, name, got, want)
	}
	for typ, s := range types {
		if s.decode != nil && !seen[typ] {
			t.Errorf("no golden tensor of type %s", typ)
		}
	}
}

// TestAnyRows reads every range of rows of every tensor; of one-dimensional ones, ranges that begin and end
// inside a block.
func TestAnyRows(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	for name, want := range golden(t) {
		info, _ := f.Info(name)
		row := len(want) / info.Shape[0]
		for lo := range info.Shape[0] + 1 {
			for hi := lo; hi <= info.Shape[0]; hi++ {
				got := make([]float32, (hi-lo)*row)
				if err := f.DequantRows(name, lo, hi, got); err != nil {
					t.Fatal(err)
				}
				sameBits(t, fmt.Sprintf("%s rows %d to %d", name, lo, hi), got, want[lo*row:hi*row])
			}
		}
	}
}

func TestShapes(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	for name, want := range map[string]string{
		"f32": "F32 [2 3 32]", "bf16": "BF16 [3 32]", "scalars": "F32 [5]", "q4_k": "Q4_K [2 768]", "q5_1": "Q5_1 [2 96]",
		"vector.q8_0": "Q8_0 [96]", "ids": "I32 [4]",
	} {
		info, ok := f.Info(name)
		if got := fmt.Sprint(info.Type, " ", info.Shape); !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if f.Version() != 3 || len(f.Tensors()) != 19 || f.Tensors()[0].Name != "f32" {
		t.Errorf("version %d, %d tensors, first %v", f.Version(), len(f.Tensors()), f.Tensors()[0])
	}
	if raw, err := f.Bytes("ids"); err != nil || !bytes.Equal(raw, []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0}) {
		t.Errorf("ids: %v %v", raw, err)
	}
}

func TestMeta(t *testing.T) {
	want := map[string]any{
		"general.architecture": "llama",
		"general.alignment":    uint32(64),
		"t.uint8":              uint8(200),
		"t.int8":               int8(-100),
		"t.uint16":             uint16(60000),
		"t.int16":              int16(-30000),
		"t.uint32":             uint32(4000000000),
		"t.int32":              int32(-2000000000),
		"t.float32":            float32(0.1),
		"t.uint64":             uint64(math.MaxUint64),
		"t.int64":              int64(math.MinInt64),
		"t.float64":            0.1,
		"t.bool":               true,
		"t.string":             "\u00e9 \U0001f600\n",
		"t.nothing":            "",
		"l.uint8":              []uint8{1, 200},
		"l.int8":               []int8{1, -100},
		"l.uint16":             []uint16{60000},
		"l.int16":              []int16{-30000, 2},
		"l.uint32":             []uint32{4000000000},
		"l.int32":              []int32{1, -2},
		"l.uint64":             []uint64{math.MaxUint64},
		"l.int64":              []int64{math.MinInt64, 3},
		"l.float32":            []float32{0.5, -1.25},
		"l.float64":            []float64{0.1},
		"l.bool":               []bool{true, false},
		"l.string":             []string{"a", "", "\u00e9"},
		"l.nested":             []any{[]int32{1, 2}, []int32{3}},
		"l.deep":               []any{[]any{[]string{"x"}, []string{"y", "z"}}},
	}
	if diff := cmp.Diff(want, open(t, "testdata/all.gguf").Meta()); diff != "" {
		t.Error(diff)
	}
}

// TestVersion2 reads the same file as version 2, which is laid out alike.
func TestVersion2(t *testing.T) {
	file := read(t, "testdata/all.gguf")
	file[4] = 2
	path := filepath.Join(t.TempDir(), "v2.gguf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	want := golden(t)["q6_k"]
	got := make([]float32, len(want))
	if err := f.DequantRows("q6_k", 0, 2, got); err != nil || f.Version() != 2 {
		t.Fatal(f.Version(), err)
	}
	sameBits(t, "q6_k", got, want)
}

// TestHalf holds every binary16 against the dtypes package; NaNs keep their bits, as numpy's do.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		got, want := half(uint16(h)), float16.FromBits(uint16(h)).Float32()
		if math.Float32bits(got) != math.Float32bits(want) && !(math.IsNaN(float64(got)) && math.IsNaN(float64(want))) {
			t.Fatalf("%#04x is %g, want %g", h, got, want)
		}
	}
	if got := math.Float32bits(half(0xfe01)); got != 0xffc02000 {
		t.Errorf("NaN is %#x", got)
	}
}

// TestReadersAtOnce reads a tensor from many goroutines while the file is closed under them: each read gives
// the right values or says that the file is closed. A read of unmapped memory would end the process.
func TestReadersAtOnce(t *testing.T) {
	const rows, row = 512, 4096
	file := header(1, 0).tensor("w", Q8_0, 0, row, rows)
	file.data(32, 0)
	for range rows * row / 32 {
		file.put(uint16(0x3c00), bytes.Repeat([]byte{7}, 32)) // 1.0 * 7
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var reads atomic.Int32
		for range 3 {
			wg.Go(func() {
				got := make([]float32, rows*row)
				for {
					if err := f.DequantRows("w", 0, rows, got); err != nil {
						if !strings.Contains(err.Error(), "the file is closed") {
							t.Error(err)
						}
						return
					}
					if got[0] != 7 || got[len(got)-1] != 7 {
						t.Error("values differ")
						return
					}
					reads.Add(1)
				}
			})
		}
		for reads.Load() < 3 {
			runtime.Gosched()
		}
		for range 2 {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		if _, err := f.Bytes("w"); err == nil || !strings.Contains(err.Error(), "the file is closed") {
			t.Errorf("Bytes of a closed file: %v", err)
		}
	}
}

// demo is the demo model's file; the test is skipped without it.
func demo(t testing.TB) *File {
	t.Helper()
	skip.InShort(t, "all of a real model is read")
	path := os.Getenv("GORUN_DEMO_GGUF")
	if path == "" {
		skip.Because(t, "GORUN_DEMO_GGUF does not name the demo model's file")
	}
	return open(t, path)
}

// TestDemoModel holds every tensor of a real model against Python's values.
func TestDemoModel(t *testing.T) {
	f := demo(t)
	digests := bufio.NewScanner(bytes.NewReader(read(t, "testdata/demo.sha256")))
	n := 0
	for ; digests.Scan(); n++ {
		line := digests.Text()
		name, _, _ := strings.Cut(line, " ")
		info, ok := f.Info(name)
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		values := make([]float32, count(info))
		if err := f.DequantRows(name, 0, info.Shape[0], values); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 0, 4*len(values))
		for _, v := range values {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
		}
		if got := fmt.Sprintf("%s %s %x", name, info.Type, sha256.Sum256(buffer)); got != line {
			t.Errorf("got  %s\nwant %s", got, line)
		}
	}
	if n != len(f.Tensors()) || n == 0 {
		t.Errorf("%d digests, %d tensors", n, len(f.Tensors()))
	}
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g (%#x), want %g (%#x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// count is the number of values of a tensor.
func count(info TensorInfo) int {
	n := 1
	for _, dim := range info.Shape {
		n *= dim
	}
	return n
}

func open(t testing.TB, path string) *File {
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
