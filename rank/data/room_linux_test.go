package data

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gorun/configs"
	"gorun/tools/smalldisk"
)

// TestNoRoom: tokens that do not fit in memory and have no room on the disk are an error that says what to do, and leave
// nothing; few of them are only not kept for the next run.
func TestNoRoom(t *testing.T) {
	dir := smalldisk.Mount(t, 512)
	var said notes
	k := Cache{Dir: filepath.Join(dir, "tokens"), Progress: &said}
	build := func(lines int) (*Dataset, error) {
		path := write(t, "data.jsonl", strings.Repeat(`{"text":"`+strings.Repeat("x", 1000)+`"}`+"\n", lines))
		return k.Build(t.Context(), cachedConfig(path), letters{}, 1000, 300)
	}
	_, err := build(3 * spoolHeld / 2000)
	wantError(t, "too many", err, "no room in "+k.Dir, "GORUN_CACHE", "no space left")
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	d, err := build(400)
	if err != nil {
		t.Fatal(err)
	}
	if closed(t, d).Len() != 400 || !strings.Contains(said.text, "not kept for the next run: no room in "+k.Dir) {
		t.Errorf("%d samples, said %q", d.Len(), said.text)
	}
	if left, err := filepath.Glob(filepath.Join(k.Dir, ".tokens-*")); err != nil || left != nil {
		t.Errorf("%v are left (%v)", left, err)
	}
}

// TestNoFolder: data that is not for the cache goes to a nameless file of its folder, or of the system's.
func TestNoFolder(t *testing.T) {
	dir := t.TempDir()
	for _, k := range []Cache{{Dir: dir}, {}} {
		c := configs.Dataset{Kind: "mock", SeqLength: 1000, NumSamples: 3 * spoolHeld / 4000}
		d, err := k.Build(t.Context(), c, words{}, 1000, 100)
		if err != nil {
			t.Fatal(err)
		}
		if closed(t, d); 2*d.Stats().Tokens < spoolHeld || len(samplesOf(t, d)) != c.NumSamples {
			t.Errorf("%+v", d.Stats())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v are left (%v)", left, err)
	}
}
