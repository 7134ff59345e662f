package data

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"gorun/configs"
	"gorun/model/tokenizer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words is a tokenizer whose tokens are words with the space before them: id = 10 + length. With special tokens, a text
// begins with 1.
type words struct {
	noEOS bool
	chat  string // its chat template
}

func (w words) ChatTemplate() string { return w.chat }

func (words) Token(id int32) string { return map[int32]string{1: "<s>", 2: "</s>"}[id] }

func (words) BOS() (int32, bool) { return 1, true }

func (words) Pad() (int32, bool) { return -1, false }

func (words) Encode(text string, addSpecial bool) (tokenizer.Encoding, error) {
	var e tokenizer.Encoding
	if addSpecial {
		e.IDs, e.Offsets = []int32{1}, [][2]int{{0, 0}}
	}
	for lo := 0; lo < len(text); {
		hi := lo + 1
		for hi < len(text) && text[hi] != ' ' {
			hi++
		}
		e.IDs = append(e.IDs, int32(10+hi-lo))
		e.Offsets = append(e.Offsets, [2]int{lo, hi})
		lo = hi
	}
	return e, nil
}

func (w words) EOS() (int32, bool) { return 2, !w.noEOS }

// letters is a tokenizer whose tokens are bytes.
type letters struct{ words }

func (letters) Encode(text string, _ bool) (tokenizer.Encoding, error) {
	var e tokenizer.Encoding
	for i := range len(text) {
		e.IDs, e.Offsets = append(e.IDs, int32(text[i])), append(e.Offsets, [2]int{i, i + 1})
	}
	return e, nil
}

// setOf is a data set of samples, in memory.
func setOf(all []Sample) *Dataset {
	w, err := newTokenWriter(&spool{}, 0)
	for i := 0; i < len(all) && err == nil; i++ {
		err = w.add(all[i])
	}
	if err != nil {
		panic(err)
	}
	t, err := w.finish()
	if err != nil {
		panic(err)
	}
	return newDataset(t)
}

// samplesOf reads all of a data set.
func samplesOf(t interface {
	Helper()
	Fatal(...any)
}, d *Dataset) (out []Sample) {
	t.Helper()
	for s, err := range d.First(d.Len()) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// built is a data set as Build gives it, which the test's end closes.
func built(t *testing.T, c configs.Dataset, tok Tokenizer, longest, vocab int) (*Dataset, error) {
	t.Helper()
	d, err := Build(t.Context(), c, tok, longest, vocab)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, err
}

// put writes a file of dir, packed as its name says.
func put(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, packed(t, filepath.Ext(name), text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// write writes a file of a folder of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	return put(t, t.TempDir(), name, text)
}

func packed(t *testing.T, ext, text string) []byte {
	t.Helper()
	var b strings.Builder
	var w io.WriteCloser
	switch ext {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return []byte(text)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}

// wantError fails unless err holds all of wants.
func wantError(t *testing.T, name string, err error, wants ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %q", name, wants)
		return
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, want %q in it", name, err, want)
		}
	}
}
