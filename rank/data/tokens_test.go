package data

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gorun/model/tokenizer"
)

// drawSamples draws a data set's samples of ids below vocab.
func drawSamples(t *rapid.T, vocab int) []Sample {
	id := rapid.Int32Range(0, int32(vocab-1))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Sample {
		tokens := rapid.SliceOfN(id, 2, 40).Draw(t, "tokens")
		trained := rapid.SliceOfN(rapid.Bool(), len(tokens), len(tokens)).Draw(t, "trained")
		return shifted(tokens, trained, rapid.SampledFrom([]string{"", "a.jsonl:1", "b.jsonl:22", "elsewhere"}).Draw(t, "origin"))
	}), 1, 20).Draw(t, "samples")
}

// TestTokens: samples come back as they were, from memory, from a file that outgrew it, and from a file opened again.
func TestTokens(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		vocab := rapid.SampledFrom([]int{0, 300, 1 << 16, 1<<16 + 1, 1 << 20}).Draw(t, "vocabulary")
		samples := drawSamples(t, max(300, vocab))
		to := &spool{dir: dir, pattern: "set-*"}
		if rapid.Bool().Draw(t, "in a file") {
			if to.flawed = to.flush(); to.flawed != nil {
				t.Fatal(to.flawed)
			}
		}
		w, err := newTokenWriter(to, vocab)
		if err != nil {
			t.Fatal(err)
		}
		w.tail.Files = []string{"a.jsonl", "b.jsonl"}
		for _, s := range samples {
			if err := w.add(s); err != nil {
				t.Fatal(err)
			}
		}
		made, err := w.finish()
		if err != nil {
			t.Fatal(err)
		}
		defer made.close() //nolint:errcheck // the folder goes as well
		path := filepath.Join(dir, "tokens")
		if err := to.publish(path); err != nil {
			t.Fatal(err)
		}
		opened, err := openTokens(path)
		if err != nil {
			t.Fatal(err)
		}
		defer opened.close() //nolint:errcheck // the folder goes as well
		for name, got := range map[string]*tokens{"made": made, "opened": opened} {
			if all := samplesOf(t, newDataset(got)); !reflect.DeepEqual(all, samples) {
				t.Fatalf("%s: %+v comes back as %+v", name, samples, all)
			}
		}
		if !reflect.DeepEqual(made.places, opened.places) || !reflect.DeepEqual(made.tail, opened.tail) || made.end != opened.end {
			t.Fatalf("made\n%+v\nopened\n%+v", made, opened)
		}
	})
	if left, err := filepath.Glob(filepath.Join(dir, "set-*")); err != nil || left != nil {
		t.Errorf("%v are left (%v)", left, err)
	}
}

// TestTokensRefused: an id that the vocabulary does not have, which two bytes might turn into another, and a label that
// is not the next token.
func TestTokensRefused(t *testing.T) {
	w, err := newTokenWriter(&spool{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Sample{
		{IDs: []int32{1, 100}, Labels: []int32{100, 1}, Origin: "a:1"},
		{IDs: []int32{1, 2}, Labels: []int32{2, 65537}, Origin: "a:1"},
		{IDs: []int32{-1}, Labels: []int32{Ignored}, Origin: "a:1"},
	} {
		wantError(t, "no such token", w.check(s), "a:1: token ", "is none of the model's 100")
	}
	if err := w.check(Sample{IDs: []int32{99}, Labels: []int32{99}}); err != nil {
		t.Error(err)
	}
	wantError(t, "another label", w.add(Sample{IDs: []int32{1, 2}, Labels: []int32{3, Ignored}, Origin: "a:2"}), "a:2: the label of token 0 is 3")
}

// TestTokensCut: a file that is cut while it is being trained on is an error that says so, from a loader as well.
func TestTokensCut(t *testing.T) {
	path := write(t, "data.jsonl", cachedText())
	dir := t.TempDir()
	for range 2 { // made, then read from the cache
		d, err := Cache{Dir: dir}.Build(t.Context(), cachedConfig(path), words{}, 16, 100)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, d)
		if !d.Cached {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"+cacheExt))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Truncate(files[0], 100); err != nil {
			t.Fatal(err)
		}
		_, err = d.Sample(99)
		wantError(t, "a sample", err, "sample 99", "unexpected EOF", "start again")
		l, err := d.NewLoader(LoaderOptions{Epochs: 1, MicroBatch: 50, GradAcc: 1, DPSize: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = l.Next(t.Context())
		wantError(t, "a loader", err, "unexpected EOF", "start again")
	}
}

// TestTokensOnDisk: what is held of a data set is not its tokens, neither while it is made nor when it is trained on. Ids
// and labels of 4 bytes would be 8 a token.
func TestTokensOnDisk(t *testing.T) {
	const samples, length = 2048, 1024
	path := write(t, "data.jsonl", strings.Repeat(`{"text":"`+strings.Repeat("x", length)+`"}`+"\n", samples))
	held := func() int64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int64(stats.HeapAlloc)
	}
	most, texts, before := int64(0), 0, held()
	tok := watchingLetters{seen: func() {
		if texts++; texts%256 == 0 {
			most = max(most, held())
		}
	}}
	c := cachedConfig(path)
	c.NumWorkers = 1 // the counter is one goroutine's
	d, err := Cache{Dir: t.TempDir()}.Build(t.Context(), c, tok, length, 300)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, d)
	l, err := d.NewLoader(LoaderOptions{Epochs: 1, MicroBatch: 8, GradAcc: 1, DPSize: 1, Shuffle: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 4 {
		s, err := l.Next(t.Context())
		if err != nil || s.Micro[0].Valid != 8*length {
			t.Fatalf("a step %+v, %v", s, err)
		}
		most = max(most, held())
	}
	if tokens := int64(d.Stats().Tokens); tokens != samples*length || most-before > 3*tokens {
		t.Errorf("for %d tokens %d bytes are held", tokens, most-before)
	}
}

// watchingLetters is a tokenizer of bytes that calls back.
type watchingLetters struct {
	letters
	seen func()
}

func (w watchingLetters) Encode(text string, special bool) (tokenizer.Encoding, error) {
	w.seen()
	return w.letters.Encode(text, special)
}

// FuzzTokens: any bytes, their checksum being right, are samples or an error.
func FuzzTokens(f *testing.F) {
	to := &spool{}
	w, err := newTokenWriter(to, 300)
	if err != nil {
		f.Fatal(err)
	}
	w.tail.Files = []string{"file"}
	for _, s := range []Sample{{IDs: []int32{1, 2}, Labels: []int32{Ignored, 3}, Origin: "file:1"}, {IDs: []int32{4}, Labels: []int32{5}}} {
		if err := w.add(s); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := w.finish(); err != nil {
		f.Fatal(err)
	}
	f.Add(to.held[:len(to.held)-4])
	f.Add([]byte(strings.Replace(string(to.held[:len(to.held)-4]), `"Samples":2`, `"Samples":9`, 1)))
	f.Add([]byte(strings.Replace(string(to.held[:len(to.held)-4]), `["file"]`, `[]`, 1)))
	f.Add([]byte(tokensMagic + "\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
		if err := checkSum(bytes.NewReader(data), int64(len(data))); err != nil && len(data) >= len(tokensMagic)+endBytes {
			t.Fatal(err)
		}
		got, err := parseTokens(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for i := range got.places {
			s, err := got.sample(i)
			if err == nil && len(s.IDs) != len(s.Labels) {
				t.Fatalf("sample %d: %+v", i, s)
			}
		}
	})
}
