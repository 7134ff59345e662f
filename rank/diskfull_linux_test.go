package rank

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gorun/tools/skip"
)

// TestDiskFull: a disk that fills up while a run trains ends the run with what to do; once there is room again, the run
// goes on from its last checkpoint and ends in the same bytes as one that always had room.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		skip.Because(t, "mounting a small file system needs root")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		skip.Because(t, "mounting is not permitted: "+err.Error())
	}
	defer func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	base, whole, dir := tinyBase(t), t.TempDir(), filepath.Join(disk, "run")
	more := []string{"step_scheduler.ckpt_every_steps=1", "step_scheduler.val_every_steps=0", "checkpoint.keep=0"}
	r := tinyRecipe(t, base, whole, more...)
	mustTrain(t, r)

	r.Checkpoint.Dir = dir
	out, err := train(context.Background(), t, r)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no room in "+dir) {
		t.Errorf("on a full disk: %v\n%s", err, out)
	}
	if before := wholeCheckpoints(t, dir); before < 1 || before > 7 {
		t.Fatalf("the newest checkpoint is of step %d:\n%s", before, out)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if out := mustTrain(t, r); !strings.Contains(out, "resuming from") {
		t.Errorf("with room again:\n%s", out)
	}
	sameRun(t, dir, whole)
}
