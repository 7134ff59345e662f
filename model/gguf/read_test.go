package gguf

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file builds GGUF files, right and wrong ones.
type file struct{ bytes.Buffer }

func (f *file) put(values ...any) *file {
	for _, v := range values {
		if s, ok := v.(string); ok {
			_ = binary.Write(f, binary.LittleEndian, uint64(len(s)))
			f.WriteString(s)
			continue
		}
		_ = binary.Write(f, binary.LittleEndian, v) // a bytes.Buffer does not fail
	}
	return f
}

// header starts a file of the given numbers of tensors and pairs.
func header(tensors, pairs uint64) *file {
	f := &file{}
	f.WriteString(magic)
	return f.put(uint32(3), tensors, pairs)
}

// tensor adds an entry of the tensor list; dims are innermost first.
func (f *file) tensor(name string, typ Type, offset uint64, dims ...uint64) *file {
	return f.put(name, uint32(len(dims)), dims, uint32(typ), offset)
}

// data pads to the alignment and adds n bytes.
func (f *file) data(align, n int) []byte {
	f.Write(make([]byte, (align-f.Len()%align)%align+n))
	return f.Bytes()
}

// nested adds an array in an array, depth deep.
func nested(depth int) *file {
	f := header(0, 1).put("k", uint32(kindArray))
	for range depth {
		f.put(uint32(kindArray), uint64(1))
	}
	return f.put(uint32(kindUint8), uint64(0))
}

func TestRefusals(t *testing.T) {
	huge := uint64(1) << 40
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "is 0 bytes long, too short for a GGUF file; is the download complete?"},
		{"other", []byte("\x08\x00\x00\x00\x00\x00\x00\x00{}"), `begins with "\b\x00\x00\x00", not "GGUF": this is not a GGUF file`},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1"), "run `git lfs pull`"},
		{"version 1", (&file{}).put([]byte(magic), uint32(1)).Bytes(), "GGUF version 1 is not supported; convert"},
		{"version 9", (&file{}).put([]byte(magic), uint32(9)).Bytes(), "GGUF version 9 is not supported; known: 2, 3"},
		{"big endian", (&file{}).put([]byte(magic), []byte{0, 0, 0, 3}).Bytes(), "big-endian"},
		{"only magic", []byte("GGUF"), "at byte 4: 4 more bytes expected, 0 left; is the download complete?"},
		{"tensors", header(huge, 0).Bytes(), "1099511627776 tensors cannot fit the 8 bytes that are left"},
		{"pairs", header(0, huge).Bytes(), "1099511627776 metadata pairs cannot fit the 0 bytes that are left"},
		{"pairs all ones", header(0, 1<<64-1).Bytes(), "18446744073709551615 metadata pairs cannot fit"},
		{"long key", header(0, 1).put(huge, make([]byte, 16)).Bytes(), "at byte 24: key of 1099511627776 bytes exceeds the limit of 65535"},
		{"key twice", header(0, 2).put("k", uint32(kindUint8), uint8(1), "k", uint32(kindUint8), uint8(1), make([]byte, 8)).Bytes(), `metadata key "k" is given twice`},
		{"value type", header(0, 1).put("k", uint32(13), uint64(0)).Bytes(), `metadata "k": unknown value type 13`},
		{"long string", header(0, 1).put("k", uint32(kindString), huge).Bytes(), `metadata "k": at byte 45: 1099511627776 more bytes expected, 0 left`},
		{"cut number", header(0, 1).put("k", uint32(kindUint64), uint32(0)).Bytes(), `metadata "k": at byte 37: 8 more bytes expected, 4 left`},
		{"bool", header(0, 1).put("k", uint32(kindBool), uint8(2)).Bytes(), `metadata "k": at byte 37: 2 is not a boolean`},
		{"array type", header(0, 1).put("k", uint32(kindArray), uint32(99), uint64(1)).Bytes(), `metadata "k": array of unknown value type 99`},
		{"long array", header(0, 1).put("k", uint32(kindArray), uint32(kindString), huge).Bytes(), `metadata "k": at byte 41: 1099511627776 array items cannot fit the 0 bytes that are left`},
		{"long inner array", header(0, 1).put("k", uint32(kindArray), uint32(kindArray), uint64(1), uint32(kindInt64), huge).Bytes(), `array items cannot fit`},
		{"deep array", nested(8).Bytes(), `metadata "k": arrays are nested more than 8 deep`},
		{"alignment type", header(0, 1).put("general.alignment", uint32(kindInt32), int32(32)).Bytes(), `metadata "general.alignment" is int32 32, must be a uint32 power of two`},
		{"alignment 0", header(0, 1).put("general.alignment", uint32(kindUint32), uint32(0)).Bytes(), `"general.alignment" is uint32 0, must be`},
		{"alignment 48", header(0, 1).put("general.alignment", uint32(kindUint32), uint32(48)).Bytes(), `"general.alignment" is uint32 48, must be`},
		{"tensor twice", header(2, 0).tensor("w", F32, 0, 1).tensor("w", F32, 32, 1).data(32, 64), `tensor "w" is given twice`},
		{"tensor name", header(1, 0).tensor("\xff", F32, 0, 1).data(32, 64), `tensor "\xff": the name is not valid UTF-8`},
		{"long tensor name", header(1, 0).put(huge).data(32, 64), `tensor name of 1099511627776 bytes exceeds the limit`},
		{"dimensions", header(1, 0).tensor("w", F32, 0, 1, 1, 1, 1, 1).data(32, 64), `tensor "w": 5 dimensions, at most 4 are possible`},
		{"dimensions all ones", header(1, 0).put("w", ^uint32(0)).data(32, 64), `tensor "w": 4294967295 dimensions`},
		{"overflow", header(1, 0).tensor("w", F32, 0, 1<<32, 1<<32).data(32, 64), `tensor "w": dimensions [4294967296 4294967296] overflow`},
		{"overflow before 0", header(1, 0).tensor("w", F32, 0, 1<<32, 1<<32, 0).data(32, 64), `overflow`},
		{"negative", header(1, 0).tensor("w", F32, 0, 1<<63).data(32, 64), `overflow`},
		{"size overflow", header(1, 0).tensor("w", F32, 0, 1<<62).data(32, 64), `tensor "w": F32 of shape [4611686018427387904] overflows`},
		{"type", header(1, 0).tensor("w", 99, 0, 1).data(32, 64), `tensor "w": unknown type 99; this file needs a newer gorun`},
		{"block", header(1, 0).tensor("w", Q4K, 0, 64, 4).data(32, 640), `tensor "w": the innermost of dimensions [4 64] is not a multiple of Q4_K's block of 256`},
		{"unaligned", header(1, 0).tensor("w", F32, 4, 1).data(32, 64), `tensor "w": offset 4 is not a multiple of the alignment 32`},
		{"overlap", header(2, 0).tensor("a", F32, 0, 16).tensor("b", F32, 32, 1).data(32, 64), `tensor "b": offset 32 lies inside tensor "a", which ends at 64`},
		{"cut data", header(1, 0).tensor("w", F32, 0, 2, 9).data(32, 71), `tensor "w": 72 bytes at offset 0 exceed the 71 bytes of data in the file; is the download complete?`},
		{"offset beyond", header(1, 0).tensor("w", F32, huge, 1).data(32, 64), `4 bytes at offset 1099511627776 exceed the 64 bytes of data`},
		{"offset wraps", header(1, 0).tensor("w", F32, 1<<64-32, 16).data(32, 64), `exceed the 64 bytes of data`},
		{"no data", header(1, 0).tensor("w", F32, 0, 1).Bytes(), `4 bytes at offset 0 exceed the 0 bytes of data`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := os.WriteFile(path, c.file, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err == nil {
				t.Fatal("no error", f.Close())
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "gguf: "+path+": ") {
				t.Errorf("error %q\nshould name the path and say %q", err, c.want)
			}
		})
	}
}

// TestAccepts: unusual files that are right.
func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
	}{
		{"nothing in it", header(0, 0).Bytes()},
		{"deep enough", nested(7).Bytes()},
		{"scalar", header(1, 0).tensor("w", F32, 0).data(32, 4)},
		{"no values", header(2, 0).tensor("a", F32, 0, 0, 5).tensor("b", F32, 0, 3).data(32, 12)},
		{"no values, cut before the data", header(1, 0).tensor("a", F32, 0, 0).Bytes()},
		{"order of data", header(2, 0).tensor("a", F32, 32, 1).tensor("b", F32, 0, 1).data(32, 36)},
		{"alignment 1", header(1, 1).put("general.alignment", uint32(kindUint32), uint32(1)).tensor("w", Q8_0, 0, 32).data(1, 34)},
	} {
		p, err := parse(c.file)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		f := &File{path: c.name, contents: p, data: c.file}
		for _, info := range f.Tensors() {
			rows := 1
			if len(info.Shape) > 0 {
				rows = info.Shape[0]
			}
			if err := f.DequantRows(info.Name, 0, rows, make([]float32, count(info))); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	whole := read(t, "testdata/all.gguf")
	size := len(whole) - 48 // the last tensor's 16 bytes are padded to 64
	if _, err := parse(whole[:size]); err != nil {
		t.Fatal(err)
	}
	for n := range size {
		if _, err := parse(whole[:n]); err == nil {
			t.Fatalf("a file cut to %d of %d bytes was accepted", n, size)
		}
	}
}

func TestDequantRowsRefuses(t *testing.T) {
	f := open(t, "testdata/all.gguf")
	for _, c := range []struct {
		name   string
		lo, hi int
		dst    int
		want   string
	}{
		{"none", 0, 1, 1, `tensor "none": there is none of that name`},
		{"ids", 0, 4, 4, `tensor "ids": type I32 cannot be read; known: F32, F16, `},
		{"q4_k", 0, 3, 3 * 768, `tensor "q4_k": rows 0 to 3 are not in 0 to 2`},
		{"q4_k", -1, 1, 2 * 768, `rows -1 to 1 are not in 0 to 2`},
		{"q4_k", 1, 0, 0, `rows 1 to 0 are not in 0 to 2`},
		{"q4_k", 0, 1, 767, `1 rows of 768 values need 768, dst has 767`},
		{"q4_k", 0, 1, 769, `need 768, dst has 769`},
	} {
		err := f.DequantRows(c.name, c.lo, c.hi, make([]float32, c.dst))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "gguf: testdata/all.gguf: ") {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := f.Bytes("none"); err == nil || !strings.Contains(err.Error(), `no tensor "none"`) {
		t.Errorf("Bytes: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	if got := Type(99).String(); got != "type 99" {
		t.Error(got)
	}
}
