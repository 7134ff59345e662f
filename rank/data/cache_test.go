package data

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gorun/configs"
)

// cachedText is a data set's file of a hundred samples.
func cachedText() string { return strings.Repeat(`{"text":"some words to train on"}`+"\n", 100) }

func cachedConfig(path string) configs.Dataset {
	c := configs.Default().Dataset
	c.Kind, c.PathOrID, c.Columns.Text, c.OnBad = "text", path, "text", "skip"
	return c
}

// TestCache: the second time a data set comes from the cache, to the last field; whatever it is made of makes it another.
func TestCache(t *testing.T) {
	path := write(t, "data.jsonl", cachedText()+"{\n")
	k := Cache{Dir: filepath.Join(t.TempDir(), "tokens"), Tokenizer: "words"}
	build := func(k Cache, c configs.Dataset, tok Tokenizer, longest int) *Dataset {
		t.Helper()
		d, err := k.Build(c, tok, longest, 100)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := build(k, cachedConfig(path), words{}, 16)
	second := build(k, cachedConfig(path), words{}, 16)
	if first.Cached || !second.Cached || first.Skipped != 1 || len(first.Samples) == 0 {
		t.Fatalf("first %v, second %v, %d samples, %d left out", first.Cached, second.Cached, len(first.Samples), first.Skipped)
	}
	second.Cached = false
	if !reflect.DeepEqual(first, second) {
		t.Errorf("from the cache comes\n%+v\nnot\n%+v", second, first)
	}
	workers := cachedConfig(path)
	workers.NumWorkers = 3
	if !build(k, workers, words{}, 16).Cached {
		t.Error("the number of goroutines makes another data set")
	}

	limited := cachedConfig(path)
	limited.LimitDatasetSamples = 5
	other := k
	other.Tokenizer = "other words"
	for name, d := range map[string]*Dataset{
		"length":    build(k, cachedConfig(path), words{}, 8),
		"template":  build(k, cachedConfig(path), words{chat: "x"}, 16),
		"special":   build(k, cachedConfig(path), words{noEOS: true}, 16),
		"settings":  build(k, limited, words{}, 16),
		"tokenizer": build(other, cachedConfig(path), words{}, 16),
		"the day":   build(k, cachedConfig(path), words{chat: "{{ strftime_now('%d') }}"}, 16),
		"no folder": build(Cache{}, cachedConfig(path), words{}, 16),
	} {
		if d.Cached {
			t.Errorf("%s: another data set comes from the cache", name)
		}
	}
	if err := os.WriteFile(path, []byte(`{"text":"other words"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := build(k, cachedConfig(path), words{}, 16); d.Cached || len(d.Samples) != 1 {
		t.Errorf("other contents of the file: %v, %d samples", d.Cached, len(d.Samples))
	}
}

// TestCacheDamaged: what is damaged, or cannot be written, is made again, and errors are those of the data.
func TestCacheDamaged(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	k := Cache{Dir: dir, Tokenizer: "words"}
	want, err := k.Build(cachedConfig(path), words{}, 16, 100)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+cacheExt))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v in the cache (%v)", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{"cut": whole[:len(whole)-3], "empty": {}, "flipped": flipped, "longer": append(bytes.Clone(whole), whole...)} {
		if err := os.WriteFile(files[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		for n, cached := range []bool{false, true} {
			got, err := k.Build(cachedConfig(path), words{}, 16, 100)
			if err != nil || got.Cached != cached || !reflect.DeepEqual(got.Samples, want.Samples) {
				t.Errorf("%s, time %d: from the cache %v, %v", name, n+1, got.Cached, err)
			}
		}
	}
	for _, dir := range []string{path, filepath.Join(path, "below")} { // no folder can be there
		if d, err := (Cache{Dir: dir}).Build(cachedConfig(path), words{}, 16, 100); err != nil || d.Cached {
			t.Errorf("a cache that cannot be: %v", err)
		}
	}
	_, err = k.Build(cachedConfig(path+".none"), words{}, 16, 100)
	wantError(t, "no file", err, "data.jsonl.none")
}

// TestCacheBound: what was used longest ago goes first.
func TestCacheBound(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	cached := func(bound int64, longest int) bool {
		t.Helper()
		d, err := Cache{Dir: dir, Bound: bound}.Build(cachedConfig(path), words{}, longest, 100)
		if err != nil {
			t.Fatal(err)
		}
		return d.Cached
	}
	for _, longest := range []int{8, 9} {
		cached(0, longest)
		files, err := filepath.Glob(filepath.Join(dir, "*"+cacheExt))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files { // an hour ago, so that the clock's steps do not matter
			if err := os.Chtimes(f, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !cached(0, 8) { // now the younger of the two
		t.Fatal("the first is not in the cache")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"+cacheExt))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v in the cache (%v)", files, err)
	}
	var sum int64
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	cached(sum+1, 10) // room for two of the three
	if !cached(0, 8) || cached(0, 9) {
		t.Error("it is not the one used longest ago that went")
	}
}

// FuzzCached: any bytes are a data set or an error, and a data set comes back as it was.
func FuzzCached(f *testing.F) {
	var b bytes.Buffer
	if err := encodeDataset(&b, &Dataset{Samples: []Sample{{IDs: []int32{1, 2}, Labels: []int32{Ignored, 3}, Origin: "file:1"}}, Skipped: 1, Reasons: []string{"why"}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(cachedMagic + "\x00\x00\x00\xff\xff\xff\xff\x07\x00\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decodeDataset(bytes.NewReader(data))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := encodeDataset(&again, d); err != nil {
			t.Fatal(err)
		}
		if back, err := decodeDataset(&again); err != nil || !reflect.DeepEqual(back, d) {
			t.Errorf("%+v comes back as %+v (%v)", d, back, err)
		}
	})
}
