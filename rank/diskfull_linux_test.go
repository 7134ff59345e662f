package rank

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gorun/tools/smalldisk"
)

// TestDiskFull: a disk that fills up while a run trains ends the run with what to do; once there is room again, the run
// goes on from its last checkpoint and ends in the same bytes as one that always had room.
func TestDiskFull(t *testing.T) {
	disk := smalldisk.Mount(t, 256)
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
	smalldisk.Resize(t, disk, 8<<10)
	if out := mustTrain(t, r); !strings.Contains(out, "resuming from") {
		t.Errorf("with room again:\n%s", out)
	}
	sameRun(t, dir, whole)
}

// TestRecordsDiskFull: a disk that has no room for the records ends the run with what to do, after a checkpoint; the run
// goes on from there.
func TestRecordsDiskFull(t *testing.T) {
	disk, dir := smalldisk.Mount(t, 20), t.TempDir()
	r := tinyRecipe(t, tinyBase(t), dir, "step_scheduler.num_epochs=100", "step_scheduler.val_every_steps=0", "logging.dir="+filepath.Join(disk, "logs"))
	out, err := train(t.Context(), t, r)
	if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "set logging.dir elsewhere") {
		t.Errorf("on a full disk: %v\n%s", err, out)
	}
	saved := wholeCheckpoints(t, dir)
	if saved < 2 || saved > 399 {
		t.Fatalf("the newest checkpoint is of step %d:\n%s", saved, out)
	}
	r.Logging.Dir, r.StepScheduler.MaxSteps = "", saved+1
	if out := mustTrain(t, r); !strings.Contains(out, fmt.Sprintf("\nstep %d/", saved+1)) {
		t.Errorf("with room again:\n%s", out)
	}
}

// TestExportNoRoom: an export that its disk has no room for, or that may not be written, says where and what to do, and
// leaves nothing.
func TestExportNoRoom(t *testing.T) {
	disk := smalldisk.Mount(t, 64)
	base := openTiny(t)
	try := func(want ...string) {
		t.Helper()
		for _, format := range []string{FormatHF, FormatGGUF} {
			_, err := Export(t.Context(), base, tinyAdapter(base), ExportOptions{Format: format, DType: "f32", Out: filepath.Join(disk, "out"), MaxShard: 1 << 30, Device: testDevice(t)})
			for _, w := range want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %v, want %q in it", format, err, w)
				}
			}
			if left, err := os.ReadDir(disk); err != nil || len(left) > 0 {
				t.Errorf("%s: left %v (%v)", format, left, err)
			}
		}
	}
	try("no room in "+disk+" for the export", "free space there")
	smalldisk.Protect(t, disk)
	try(disk+" cannot be written to", "another folder", "read-only file system")
}
