package gguf

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWriteAsPython writes the file that the gguf package wrote, from its values in float32: the bytes are the same.
func TestWriteAsPython(t *testing.T) {
	const golden = "testdata/written.gguf"
	f := open(t, golden)
	meta := []Pair{
		{"general.architecture", "llama"}, {"general.name", "é"}, {"llama.block_count", uint32(2)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)}, {"tokenizer.ggml.add_bos_token", true},
		{"tokenizer.ggml.tokens", []string{"a", "", "é"}}, {"tokenizer.ggml.token_type", []int32{1, 3, 1}},
		{"tokenizer.ggml.scores", []float32{0.5, -1, 0}},
	}
	var tensors []Stream
	for _, info := range f.Tensors() {
		from := "F32"
		if info.Name == "vector" {
			from = info.Name
		}
		tensors = append(tensors, Stream{info, func(lo, hi int, dst []float32) error { return f.DequantRows(from, lo, hi, dst) }})
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := Write(path, meta, tensors); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, path), read(t, golden); !bytes.Equal(got, want) {
		at := 0
		for at < min(len(got), len(want)) && got[at] == want[at] {
			at++
		}
		t.Errorf("%d bytes, want %d; the first difference is at %d", len(got), len(want), at)
	}
}

// TestWriteEveryKind: every metadata type comes back as it was, and so do tensors larger than what is made at a time.
func TestWriteEveryKind(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	var meta []Pair
	for key, v := range f.Meta() {
		if _, nested := v.([]any); !nested && key != "general.alignment" {
			meta = append(meta, Pair{key, v})
		}
	}
	value := func(i int) float32 { return float32(i%251) - 125 }
	big := func(name string, typ Type, shape ...int) Stream {
		width := 1
		for _, d := range shape[1:] {
			width *= d
		}
		return Stream{TensorInfo{name, typ, shape}, func(lo, _ int, dst []float32) error {
			for i := range dst {
				dst[i] = value(lo*width + i)
			}
			return nil
		}}
	}
	tensors := []Stream{big("wide", F16, 3, 1<<20), big("deep", BF16, 40000, 2, 32), big("vector", F32, chunkValues+7), big("blocks", Q8_0, 5, 64)}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := Write(path, meta, tensors); err != nil {
		t.Fatal(err)
	}
	back := open(t, path)
	if got, want := len(back.Meta()), len(meta); got != want {
		t.Errorf("%d pairs, want %d", got, want)
	}
	for _, p := range meta {
		k, want, err := encodeValue(p.Value)
		if err != nil {
			t.Fatal(err)
		}
		if gotKind, got, err := encodeValue(back.Meta()[p.Key]); err != nil || gotKind != k || !bytes.Equal(got, want) {
			t.Errorf("%s: %v, want %v (%v)", p.Key, back.Meta()[p.Key], p.Value, err)
		}
	}
	for _, s := range tensors {
		info, ok := back.Info(s.Name)
		if !ok || info.Type != s.Type {
			t.Fatalf("%s: %v", s.Name, info)
		}
		got := make([]float32, count(info))
		if err := back.DequantRows(s.Name, 0, s.Shape[0], got); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			if math.Abs(float64(v-value(i))) > 0.5 || s.Type != Q8_0 && v != value(i) {
				t.Fatalf("%s[%d] is %g, want %g", s.Name, i, v, value(i))
			}
		}
	}
}

// TestWriteRefuses: what could not be read back is refused before anything is written, and a failure leaves no file.
func TestWriteRefuses(t *testing.T) {
	fill := func(int, int, []float32) error { return nil }
	ok := Stream{TensorInfo{"a", F32, []int{2, 3}}, fill}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		meta    []Pair
		tensors []Stream
		want    string
	}{
		"key twice":    {[]Pair{{"k", true}, {"k", true}}, nil, `"k"`},
		"odd value":    {[]Pair{{"k", map[string]int{}}}, nil, "map[string]int cannot be written"},
		"tensor twice": {nil, []Stream{ok, ok}, `"a"`},
		"no shape":     {nil, []Stream{{TensorInfo{"s", F32, nil}, fill}}, "1 to 4 dimensions"},
		"torn block":   {nil, []Stream{{TensorInfo{"q", Q8_0, []int{2, 33}}, fill}}, "rows of 33 values cannot be stored as Q8_0"},
		"read only":    {nil, []Stream{{TensorInfo{"q", Q4_0, []int{2, 32}}, fill}}, "stored as Q4_0"},
		"overflow":     {nil, []Stream{{TensorInfo{"q", F32, []int{1 << 40, 1 << 40}}, fill}}, "impossible shape"},
		"no values":    {nil, []Stream{{TensorInfo{"q", F32, []int{2, 3}}, func(int, int, []float32) error { return broken }}}, "broken"},
	} {
		path := filepath.Join(t.TempDir(), "out.gguf")
		if err := Write(path, c.meta, c.tensors); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: left a file (%v)", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := errors.Join(os.WriteFile(path, []byte("mine"), 0o600), Write(path, nil, []Stream{ok})); !errors.Is(err, os.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if string(read(t, path)) != "mine" {
		t.Error("the file that was there is gone")
	}
}

// TestToHalf: every binary16 comes back from its float32, and what lies between two goes to the nearer, or the even one.
func TestToHalf(t *testing.T) {
	for h := range uint16(0x7c00) {
		v, next := half(h), half(h+1)
		if h == 0x7bff {
			next = 65536
		}
		between, even := (v+next)/2, h+h&1
		for sign, bit := range map[float32]uint16{1: 0, -1: 0x8000} {
			for x, want := range map[float32]uint16{v: h, between: even, math.Nextafter32(between, 0): h, math.Nextafter32(between, next): h + 1} {
				if got := toHalf(sign * x); got != want|bit {
					t.Fatalf("%g becomes %#04x, want %#04x", sign*x, got, want|bit)
				}
			}
		}
	}
	if inf := float32(math.Inf(-1)); toHalf(inf) != 0xfc00 || toHalf(float32(math.NaN()))&0x7fff != 0x7e00 {
		t.Error("infinity or NaN")
	}
}
