// Package smalldisk mounts file systems that are soon full, for tests.
package smalldisk

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"gorun/tools/skip"
)

// Mount returns a folder with a file system of so many KiB of its own, which the end of the test unmounts. The test is
// skipped where it may not mount.
func Mount(t testing.TB, kib int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		skip.Because(t, "mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, size(kib)); err != nil {
		skip.Because(t, "mounting is not permitted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Resize makes the file system at dir larger, or smaller as far as it is empty.
func Resize(t testing.TB, dir string, kib int) { remount(t, dir, 0, size(kib)) }

// Protect lets nothing more be written to the file system at dir.
func Protect(t testing.TB, dir string) { remount(t, dir, unix.MS_RDONLY, "") }

func size(kib int) string { return fmt.Sprintf("size=%dk", kib) }

func remount(t testing.TB, dir string, flags uintptr, options string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, options); err != nil {
		t.Fatal(err)
	}
}
