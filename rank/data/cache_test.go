package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"gorun/configs"
	"gorun/tools/countdown"
)

// cachedText is a data set's file of a hundred samples.
func cachedText() string { return strings.Repeat(`{"text":"some words to train on"}`+"\n", 100) }

func cachedConfig(path string) configs.Dataset {
	c := configs.Default().Dataset
	c.Kind, c.PathOrID, c.Columns.Text, c.OnBad = "text", path, "text", "skip"
	return c
}

// closed closes a data set at the test's end.
func closed(t *testing.T, d *Dataset) *Dataset {
	t.Helper()
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// notes is progress of which the notes are kept.
type notes struct{ text string }

func (n *notes) Begin(string, int, int64) {}
func (n *notes) Add(int64)                {}
func (n *notes) End()                     {}
func (n *notes) Note(line string)         { n.text += line + "\n" }

// TestCache: the second time a data set comes from the cache, to the last field; whatever it is made of makes it another.
func TestCache(t *testing.T) {
	path := write(t, "data.jsonl", cachedText()+"{\n")
	k := Cache{Dir: filepath.Join(t.TempDir(), "tokens"), Tokenizer: "words"}
	build := func(k Cache, c configs.Dataset, tok Tokenizer, longest, vocab int) *Dataset {
		t.Helper()
		d, err := k.Build(t.Context(), c, tok, longest, vocab)
		if err != nil {
			t.Fatal(err)
		}
		return closed(t, d)
	}
	first := build(k, cachedConfig(path), words{}, 16, 100)
	second := build(k, cachedConfig(path), words{}, 16, 100)
	if first.Cached || !second.Cached || first.Skipped != 1 || first.Len() == 0 {
		t.Fatalf("first %v, second %v, %d samples, %d left out", first.Cached, second.Cached, first.Len(), first.Skipped)
	}
	if !reflect.DeepEqual(first.tokens.tail, second.tokens.tail) || !reflect.DeepEqual(first.tokens.places, second.tokens.places) ||
		!reflect.DeepEqual(samplesOf(t, first), samplesOf(t, second)) {
		t.Errorf("from the cache comes\n%+v\nnot\n%+v", second.tokens, first.tokens)
	}
	workers := cachedConfig(path)
	workers.NumWorkers = 3
	if !build(k, workers, words{}, 16, 100).Cached {
		t.Error("the number of goroutines makes another data set")
	}

	limited := cachedConfig(path)
	limited.LimitDatasetSamples = 5
	other := k
	other.Tokenizer = "other words"
	for name, d := range map[string]*Dataset{
		"length":     build(k, cachedConfig(path), words{}, 8, 100),
		"vocabulary": build(k, cachedConfig(path), words{}, 16, 1<<20),
		"template":   build(k, cachedConfig(path), words{chat: "x"}, 16, 100),
		"special":    build(k, cachedConfig(path), words{noEOS: true}, 16, 100),
		"settings":   build(k, limited, words{}, 16, 100),
		"tokenizer":  build(other, cachedConfig(path), words{}, 16, 100),
		"the hour":   build(k, cachedConfig(path), words{chat: "{{ strftime_now('%H') }}"}, 16, 100),
		"no folder":  build(Cache{}, cachedConfig(path), words{}, 16, 100),
	} {
		if d.Cached {
			t.Errorf("%s: another data set comes from the cache", name)
		}
	}
	if err := os.WriteFile(path, []byte(`{"text":"other words"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := build(k, cachedConfig(path), words{}, 16, 100); d.Cached || d.Len() != 1 {
		t.Errorf("other contents of the file: %v, %d samples", d.Cached, d.Len())
	}
}

// TestDayOf: templates that ask for the date are another one every day; what may change within the day is not kept.
func TestDayOf(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for template, want := range map[string]string{
		"plain": "", "{% if strftime_now is defined %}x{% endif %}": "",
		`{%- set date_string = strftime_now("%d %b %Y") %}`:        "2026-11-25",
		`{{ strftime_now('%Y-%m-%d') }} {{strftime_now ( "%A" )}}`: "2026-11-25",
		`{{ strftime_now("%d") }} {{ strftime_now("%H:%M") }}`:     "never",
		`{{ strftime_now("%%H") }}`:                                "never",
		`{{ strftime_now(format) }}`:                               "never",
		`{{ strftime_now("%d" + "%H") }}`:                          "never",
	} {
		day, ok := dayOf(template, now)
		if !ok {
			day = "never"
		}
		if day != want {
			t.Errorf("%s: %q, want %q", template, day, want)
		}
	}
}

// TestCacheDamaged: what is damaged is made again with a word about it, and errors are those of the data.
func TestCacheDamaged(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	var said notes
	k := Cache{Dir: dir, Tokenizer: "words", Progress: &said}
	build := func() *Dataset {
		t.Helper()
		d, err := k.Build(t.Context(), cachedConfig(path), words{}, 16, 100)
		if err != nil {
			t.Fatal(err)
		}
		return closed(t, d)
	}
	want := samplesOf(t, build())
	files, err := filepath.Glob(filepath.Join(dir, "*"+cacheExt))
	if err != nil || len(files) != 1 || said.text != "" {
		t.Fatalf("%v in the cache, %s (%v)", files, said.text, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	for name, data := range map[string][]byte{"cut": whole[:len(whole)-3], "empty": {}, "flipped": flipped, "longer": append(bytes.Clone(whole), 0)} {
		said.text = ""
		if err := os.WriteFile(files[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		for n, cached := range []bool{false, true} {
			if got := build(); got.Cached != cached || !reflect.DeepEqual(samplesOf(t, got), want) {
				t.Errorf("%s, time %d: from the cache %v", name, n+1, got.Cached)
			}
		}
		if !strings.Contains(said.text, files[0]+": damaged: ") || !strings.Contains(said.text, "tokenising "+path+" again") || strings.Count(said.text, "\n") != 1 {
			t.Errorf("%s: said %q", name, said.text)
		}
	}
	_, err = k.Build(t.Context(), cachedConfig(path+".none"), words{}, 16, 100)
	wantError(t, "no file", err, "data.jsonl.none")
}

// TestCacheCannotBe: without a folder to write to, data sets are made for this process alone, with a word about it.
func TestCacheCannotBe(t *testing.T) {
	path := write(t, "data.jsonl", cachedText())
	var said notes
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		d, err := Cache{Dir: dir, Progress: &said}.Build(t.Context(), cachedConfig(path), words{}, 16, 100)
		if err != nil || d.Cached || len(samplesOf(t, closed(t, d))) != 100 {
			t.Errorf("a cache that cannot be: %v", err)
		}
	}
	if strings.Count(said.text, "tokenised data cannot be kept in "+path) != 2 && strings.Count(said.text, path) < 2 {
		t.Errorf("said %q", said.text)
	}
}

// TestCacheSweeps: what a killed process left half written goes, and what others still write stays.
func TestCacheSweeps(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	for lock := range 16 {
		put(t, dir, fmt.Sprintf("%s%d", unfinished(fmt.Sprintf("%x", lock)), lock), "left")
	}
	d, err := Cache{Dir: dir}.Build(t.Context(), cachedConfig(path), words{}, 16, 100)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, d)
	if left, err := filepath.Glob(filepath.Join(dir, ".tokens-*")); err != nil || len(left) != 15 {
		t.Errorf("%d files are left of 16 (%v)", len(left), err)
	}
}

// TestCacheOnce: of several processes' worth of goroutines that want a data set at once, one tokenises it.
func TestCacheOnce(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	var texts atomic.Int64
	tok := watching{seen: func() { texts.Add(1) }}
	var all errgroup.Group
	for range 4 {
		all.Go(func() error {
			d, err := Cache{Dir: dir}.Build(t.Context(), cachedConfig(path), tok, 16, 100)
			return errors.Join(err, d.Close())
		})
	}
	if err := all.Wait(); err != nil || texts.Load() != 100 {
		t.Errorf("%d texts were tokenised, want 100 (%v)", texts.Load(), err)
	}
}

// TestCacheBound: what was used longest ago goes first.
func TestCacheBound(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	cached := func(bound int64, longest int) bool {
		t.Helper()
		d, err := Cache{Dir: dir, Bound: bound}.Build(t.Context(), cachedConfig(path), words{}, longest, 100)
		if err != nil {
			t.Fatal(err)
		}
		return closed(t, d).Cached
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
	cached(sum-1, 10) // room for one beside the newest
	if !cached(0, 8) || !cached(0, 10) || cached(0, 9) {
		t.Error("it is not the one used longest ago that went")
	}
	cached(1, 11)
	if !cached(0, 11) || cached(0, 10) {
		t.Error("a data set above the bound is not kept until the next")
	}
}

// TestCacheInterrupted: a request to stop ends the reading of files, the tokenising, and the waiting for somebody else's;
// nothing half done stays.
func TestCacheInterrupted(t *testing.T) {
	path, dir := write(t, "data.jsonl", cachedText()), t.TempDir()
	k := Cache{Dir: dir, Tokenizer: "words"}
	for questions := 0; ; questions++ { // of ctx, before it says that it has been cancelled
		d, err := k.Build(&countdown.Context{Context: t.Context(), Left: questions}, cachedConfig(path), words{}, 16, 100)
		if err == nil {
			if closed(t, d); questions < 100 {
				t.Errorf("asked %d times only whether to go on, of 100 records", questions)
			}
			break
		}
		left, globErr := filepath.Glob(filepath.Join(dir, "*tokens*"))
		if !errors.Is(err, context.Canceled) || globErr != nil || len(left) > 0 {
			t.Fatalf("stopped at question %d: %v; left in the cache: %v (%v)", questions, err, left, globErr)
		}
	}

	other := cachedConfig(path)
	other.LimitDatasetSamples = 7
	name, _, err := k.name(t.Context(), asked{other, words{}, 16, 100})
	if err != nil {
		t.Fatal(err)
	}
	lock := flock.New(filepath.Join(dir, "lock-"+name[:1]))
	if err := lock.Lock(); err != nil {
		t.Fatal(err)
	}
	defer lock.Close() //nolint:errcheck // the test is over
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := k.Build(ctx, other, words{}, 16, 100); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while another process tokenises: %v", err)
	}
}
