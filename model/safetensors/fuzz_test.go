package safetensors

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"
)

// FuzzOpen: no file makes the reader panic or hand out bytes that are not the tensor's, and what it
// accepts can be written again.
func FuzzOpen(f *testing.F) {
	f.Add(read(f, "testdata/plain.safetensors"))
	f.Add(read(f, "testdata/sharded/model-00001-of-00002.safetensors"))
	var cases []struct{ File []byte }
	if err := json.Unmarshal(read(f, "testdata/verdicts.json"), &cases); err != nil {
		f.Fatal(err)
	}
	for _, c := range cases {
		f.Add(c.File)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		layout, err := parse(body)
		if err != nil {
			return
		}
		file := &File{path: "fuzz", layout: layout, data: body}
		var tensors []Tensor
		total := layout.start
		for _, name := range file.Names() {
			info, ok := file.Info(name)
			data, err := file.Bytes(name)
			if err != nil || !ok {
				t.Fatalf("%q is listed but: %v", name, err)
			}
			if size, ok := byteSize(info); !ok || size != len(data) {
				t.Fatalf("%q: %v has %d bytes", name, info, len(data))
			}
			total += len(data)
			tensors = append(tensors, Tensor{name, info.DType, info.Shape, data})
		}
		if total != len(body) {
			t.Fatalf("tensors cover %d of %d bytes", total, len(body))
		}
		if err := checkItems(inMemory(tensors), file.Metadata()); err != nil {
			t.Fatal(err)
		}
		if _, err := parseHeader(buildHeader(inMemory(tensors), file.Metadata())); err != nil {
			t.Fatalf("our own header: %v", err)
		}
	})
}

// FuzzIndex: no index names a file outside its folder.
func FuzzIndex(f *testing.F) {
	f.Add(read(f, "testdata/sharded/"+IndexName))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		weights, err := parseIndex(body)
		if err != nil {
			return
		}
		for tensor, shard := range weights {
			if filepath.Join("dir", shard) != "dir"+string(os.PathSeparator)+shard || filepath.Base(shard) != shard {
				t.Fatalf("%q: shard %q leaves the folder", tensor, shard)
			}
		}
	})
}

// BenchmarkOpen opens a file with the header of a large model.
func BenchmarkOpen(b *testing.B) {
	var tensors []Tensor
	for layer := range 80 {
		for _, name := range []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "norm1", "norm2"} {
			tensors = append(tensors, Tensor{fmt.Sprintf("model.layers.%d.%s.weight", layer, name), dtypes.BFloat16, []int{8, 8}, make([]byte, 128)})
		}
	}
	path := filepath.Join(b.TempDir(), "m.safetensors")
	if err := Write(path, tensors, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrite writes 64 MiB, synced.
func BenchmarkWrite(b *testing.B) {
	tensors := []Tensor{{"w", dtypes.Float32, []int{1 << 24}, make([]byte, 1<<26)}}
	path := filepath.Join(b.TempDir(), "m.safetensors")
	b.SetBytes(1 << 26)
	for b.Loop() {
		if err := Write(path, tensors, nil); err != nil {
			b.Fatal(err)
		}
	}
}
