package safetensors

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
)

const one = `{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`

// whole is a file of a header and n bytes of data.
func whole(header string, n int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, n)...)
}

// TestRefusals: each fault has its own words, with the tensor and the way out.
func TestRefusals(t *testing.T) {
	tensor := func(fields string) string { return `{"lm_head.weight":{` + fields + `}}` }
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "is 0 bytes long, too short for a safetensors file; is the download complete?"},
		{"short", make([]byte, 7), "is 7 bytes long"},
		{"length", append([]byte{1, 0xe1, 0xf5, 5, 0, 0, 0, 0}, "{}"...), "header length 100000001 exceeds the limit of 100000000 bytes; this is not a safetensors file"},
		{"lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\n"), "run `git lfs pull`"},
		{"gguf", []byte("GGUF\x03\x00\x00\x00\x01\x00\x00\x00"), "this is a GGUF file"},
		{"pickle", []byte("PK\x03\x04\x00\x00\x08\x08\x00\x00"), "PyTorch .bin"},
		{"page", []byte("<!DOCTYPE html>"), "web page"},
		{"cut in header", whole(`{"a":`+one+`}`, 4)[:30], "header of 54 bytes does not fit a file of 30; is the download complete?"},
		{"cut in data", whole(`{"a":`+one+`}`, 3), `tensor "a": data_offsets [0, 4] exceed the 3 bytes of data in the file; is the download complete?`},
		{"too long", whole(`{"a":`+one+`}`, 5), "the tensors cover 4 bytes, the file has 5 bytes of data"},
		{"not json", whole(`{"a":`+one+`,}`, 4), "header: is not valid JSON, at byte 55: "},
		{"not an object", whole(` []`, 0), "header: is not a JSON object"},
		{"not utf-8", whole("{\"\xff\":"+one+"}", 4), "header: is not valid UTF-8"},
		{"twice", whole(`{"a":`+one+`,"a":`+one+`}`, 4), `header: "a" is given twice`},
		{"twice in other spelling", whole(`{"a":`+one+`,"\u0061":`+one+`}`, 4), `header: "a" is given twice`},
		{"field twice", whole(tensor(`"shape":[1],"shape":[1]`), 4), `tensor "lm_head.weight": "shape" is given twice`},
		{"unknown dtype", whole(tensor(`"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,3]`), 3), `tensor "lm_head.weight": unknown dtype "F6_E3M2"; known: U64, I64, `},
		{"number for dtype", whole(tensor(`"dtype":32,"shape":[4],"data_offsets":[0,3]`), 3), `dtype: is 32, must be a string`},
		{"info is a list", whole(`{"a":["F32",[1],[0,4]]}`, 4), `tensor "a": is [, must be a JSON object`},
		{"no dtype", whole(tensor(`"shape":[1],"data_offsets":[0,4]`), 4), `tensor "lm_head.weight": has no dtype`},
		{"no shape", whole(tensor(`"dtype":"F32","data_offsets":[0,4]`), 4), `has no shape`},
		{"no offsets", whole(tensor(`"dtype":"F32","shape":[1]`), 4), `data_offsets must be [begin, end], holds 0 numbers`},
		{"fraction", whole(tensor(`"dtype":"F32","shape":[1.5],"data_offsets":[0,4]`), 4), `shape: holds 1.5, must hold integers from 0 to 2^63-1`},
		{"exponent", whole(tensor(`"dtype":"F32","shape":[1e0],"data_offsets":[0,4]`), 4), `shape: holds 1e0, must`},
		{"negative", whole(tensor(`"dtype":"F32","shape":[-1],"data_offsets":[0,4]`), 4), `shape: holds -1, must`},
		{"word in shape", whole(tensor(`"dtype":"F32","shape":["1"],"data_offsets":[0,4]`), 4), `shape: holds 1, must hold integers`},
		{"overflow", whole(tensor(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]`), 0), `tensor "lm_head.weight": shape [4294967296 4294967296] of F32 overflows`},
		{"size overflow", whole(tensor(`"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]`), 0), `overflows`},
		{"size is 2^63", whole(tensor(`"dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,0]`), 0), `overflows`},
		{"lies about size", whole(tensor(`"dtype":"BF16","shape":[2,3],"data_offsets":[0,8]`), 8), `tensor "lm_head.weight": BF16 of shape [2 3] takes 12 bytes, data_offsets [0, 8] give it 8`},
		{"backwards", whole(tensor(`"dtype":"F32","shape":[1],"data_offsets":[4,0]`), 4), `data_offsets [4, 0] must begin at 0`},
		{"gap", whole(`{"a":`+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12), `tensor "b": data_offsets [8, 12] must begin at 4, where the tensor before it ends`},
		{"overlap", whole(`{"a":`+one+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), `tensor "b": data_offsets [0, 4] must begin at 4`},
		{"metadata", whole(`{"__metadata__":{"step":3},"a":`+one+`}`, 4), `header: __metadata__: must map names to strings`},
		{"null in metadata", whole(`{"__metadata__":{"step":null},"a":`+one+`}`, 4), `__metadata__: "step" is null, must be a string`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.safetensors")
			write(t, path, c.file)
			f, err := Open(path)
			if err == nil {
				t.Fatal("no error", f.Close())
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "safetensors: "+path+": ") {
				t.Errorf("error %q\nshould name the path and say %q", err, c.want)
			}
		})
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	file := read(t, "testdata/all.safetensors")
	for n := range file {
		if _, err := parse(file[:n]); err == nil {
			t.Fatalf("a file cut to %d of %d bytes was accepted", n, len(file))
		}
	}
}

func TestOpenNotAFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("folder: %v", err)
	}
	missing := filepath.Join(dir, "x.safetensors")
	if _, err := Open(missing); err == nil || err.Error() != "safetensors: "+missing+": no such file or directory" {
		t.Errorf("missing: %v", err)
	}
}

func TestClosed(t *testing.T) {
	f, err := Open("testdata/plain.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Bytes("a"); err == nil || !strings.Contains(err.Error(), "the file is closed") {
		t.Errorf("read of a closed file: %v", err)
	}
	if _, _, err := ReadAll("testdata/none"); err == nil {
		t.Error("ReadAll of nothing")
	}
}

func TestOpenDirFaults(t *testing.T) {
	const shard1, shard2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	index := func(tensors ...string) string {
		var entries []string
		for i := 0; i < len(tensors); i += 2 {
			entries = append(entries, fmt.Sprintf("%q:%q", tensors[i], tensors[i+1]))
		}
		return `{"metadata":{"total_size":1},"weight_map":{` + strings.Join(entries, ",") + `}}`
	}
	good := string(whole(`{"a":`+one+`}`, 4))
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nothing", nil, []string{"has neither model.safetensors nor model.safetensors.index.json; is the download complete?"}},
		{"pickles", map[string]string{"pytorch_model.bin": ""}, []string{"only PyTorch weights (pytorch_model.bin); convert"}},
		{"missing shard", map[string]string{shard1: good, IndexName: index("a", shard1, "b", shard2)},
			[]string{IndexName + ": shard \"" + shard2 + "\" is missing; is the download complete?"}},
		{"missing tensor", map[string]string{shard1: good, IndexName: index("a", shard1, "b", shard1)},
			[]string{`tensor "b" is not in its shard "` + shard1 + `"`}},
		{"all faults at once", map[string]string{shard1: good, IndexName: index("b", shard1, "c", shard2)},
			[]string{`tensor "b" is not in its shard`, shard2 + `" is missing`}},
		{"damaged shard", map[string]string{shard1: good[:20], IndexName: index("a", shard1)},
			[]string{shard1 + ": header of 54 bytes does not fit"}},
		{"up", map[string]string{IndexName: index("a", "../secret.safetensors")}, []string{`weight_map: tensor "a": shard "../secret.safetensors" is not a plain file name`}},
		{"root", map[string]string{IndexName: index("a", "/etc/x.safetensors")}, []string{"is not a plain file name"}},
		{"below", map[string]string{IndexName: index("a", "sub/x.safetensors")}, []string{"is not a plain file name"}},
		{"backslash", map[string]string{IndexName: index("a", `..\x.safetensors`)}, []string{"is not a plain file name"}},
		{"other file", map[string]string{IndexName: index("a", "passwd")}, []string{"ending in .safetensors"}},
		{"zero byte", map[string]string{IndexName: `{"weight_map":{"a":"x\u0000.safetensors"}}`}, []string{"is not a plain file name"}},
		{"empty map", map[string]string{IndexName: `{"weight_map":{}}`}, []string{"has no weight_map, or an empty one"}},
		{"no map", map[string]string{IndexName: `{}`}, []string{"has no weight_map"}},
		{"not json", map[string]string{IndexName: `{`}, []string{"is not valid JSON"}},
		{"number for a shard", map[string]string{IndexName: `{"weight_map":{"a":1}}`}, []string{`weight_map: tensor "a": is 1, must be a string`}},
		{"tensor twice", map[string]string{IndexName: `{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}`}, []string{`"a" is given twice`}},
		{"single file counts first", map[string]string{SingleName: "x", IndexName: `{`}, []string{SingleName + ": is 1 bytes long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, body := range c.files {
				write(t, filepath.Join(dir, name), []byte(body))
			}
			_, err := OpenDir(dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q\nshould say %q", err, want)
				}
			}
		})
	}
}

func TestOpenDirManyFaultsAreCounted(t *testing.T) {
	dir := t.TempDir()
	weights := make(map[string]string)
	for i := range 15 {
		weights[fmt.Sprint("t", i)] = fmt.Sprintf("shard%02d.safetensors", i)
	}
	_, err := openShards(dir, weights)
	if err == nil || strings.Count(err.Error(), "is missing") != maxFaults || !strings.Contains(err.Error(), "and 5 more") {
		t.Errorf("got %v", err)
	}
}

// TestOpenDirGoesByTheIndex: a tensor is read from the shard that the index names; one that it does not name
// is not there.
func TestOpenDirGoesByTheIndex(t *testing.T) {
	dir := t.TempDir()
	for shard, tensors := range map[string][]string{"x.safetensors": {"a", "b", "extra"}, "y.safetensors": {"a", "c"}} {
		var list []Tensor
		for _, name := range tensors {
			list = append(list, Tensor{name, dtypes.Uint8, []int{1}, []byte(shard[:1])})
		}
		if err := Write(filepath.Join(dir, shard), list, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, IndexName), []byte(`{"weight_map":{"a":"y.safetensors","b":"x.safetensors","c":"y.safetensors"}}`))
	s, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if got := fmt.Sprint(s.Names()); got != "[b a c]" {
		t.Errorf("names %s", got)
	}
	for name, shard := range map[string]string{"a": "y", "b": "x", "c": "y"} {
		if data, err := s.Bytes(name); err != nil || string(data) != shard {
			t.Errorf("%s is from %q, want %q: %v", name, data, shard, err)
		}
	}
	if _, ok := s.Info("extra"); ok {
		t.Error("extra is not in the index")
	}
}

func TestOpenDirSingle(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, SingleName), read(t, "testdata/plain.safetensors"))
	s, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := s.Bytes("a"); err != nil || len(data) != 12 || len(s.Names()) != 1 {
		t.Errorf("%v %v", data, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenDir(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no folder: %v", err)
	}
	if _, err := OpenDir(filepath.Join(dir, SingleName)); err == nil || !strings.Contains(err.Error(), "not a") {
		t.Errorf("a file as folder: %v", err)
	}
}

func write(t testing.TB, path string, body []byte) {
	t.Helper()
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
}
