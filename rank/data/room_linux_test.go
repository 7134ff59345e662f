package data

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gorun/configs"
	"gorun/tools/skip"
)

// smallDisk mounts a file system of half a MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		skip.Because(t, "mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		skip.Because(t, "mounting is not permitted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestNoRoom: tokens that do not fit in memory and have no room on the disk are an error that says what to do, and leave
// nothing; few of them are only not kept for the next run.
func TestNoRoom(t *testing.T) {
	dir := smallDisk(t)
	var said notes
	k := Cache{Dir: filepath.Join(dir, "tokens"), Progress: &said}
	build := func(lines int) (*Dataset, error) {
		path := write(t, "data.jsonl", strings.Repeat(`{"text":"`+strings.Repeat("x", 1000)+`"}`+"\n", lines))
		return k.Build(cachedConfig(path), letters{}, 1000, 300)
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
		d, err := k.Build(c, words{}, 1000, 100)
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
