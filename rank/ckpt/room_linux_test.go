package ckpt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gorun/tools/smalldisk"
)

func init() { children["small-files"] = saveWithSmallFiles }

// saveWithSmallFiles saves where no file may grow beyond 300 bytes: enough for some parts, not for all.
func saveWithSmallFiles() {
	signal.Ignore(syscall.SIGXFSZ)
	d, err := Open(os.Getenv(childDir), nil)
	if err != nil {
		fail(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300, Max: 300}); err != nil {
		fail(err)
	}
	_, err = d.Save(context.Background(), loraState(2), SaveOptions{})
	fmt.Println(err)
}

// TestNoRoom: a disk that fills up during a save costs that checkpoint and nothing else.
func TestNoRoom(t *testing.T) {
	check := func(t *testing.T, dir, message string) {
		t.Helper()
		for _, w := range []string{"step 2", "no room in " + dir, "free space", "checkpoint.keep"} {
			if !strings.Contains(message, w) {
				t.Errorf("error does not say %q: %s", w, message)
			}
		}
		assertNames(t, dir, "LATEST", "epoch_0_step_1")
		if s, err := Load(filepath.Join(dir, latestLink)); err != nil || s.Step != 1 {
			t.Errorf("the older checkpoint: %v", err)
		}
	}
	t.Run("limit", func(t *testing.T) {
		dir := t.TempDir()
		if _, err := Save(t.Context(), dir, loraState(1), SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		out, err := child(t, "small-files", dir).Output()
		if err != nil {
			t.Fatal(err)
		}
		check(t, dir, string(out))
	})
	t.Run("full file system", func(t *testing.T) {
		dir := smalldisk.Mount(t, 256)
		if _, err := Save(t.Context(), dir, loraState(1), SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := Save(t.Context(), dir, loraState(2), SaveOptions{Files: map[string][]byte{"tokenizer.json": make([]byte, 1<<19)}})
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("error is %v", err)
		}
		check(t, dir, err.Error())
	})
}

// TestReadOnlyFolder: a folder that may not be written to is refused at Open, before any training, and
// can still be resumed from.
func TestReadOnlyFolder(t *testing.T) {
	dir, path := saved(t)
	fresh := filepath.Join(t.TempDir(), "parent")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, fresh} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(d, 0o755) //nolint:errcheck // only so that the folder can be removed
	}
	if err := os.Chmod(filepath.Join(dir, lockFile), 0o444); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		for _, d := range []string{dir, fresh, filepath.Join(fresh, "sub")} {
			_, err := Open(d, nil)
			if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "cannot be written to") {
				t.Errorf("Open(%s): %v", d, err)
			}
		}
		if got, ok, err := latest(dir); err != nil || !ok || got != path {
			t.Errorf("Latest gives %q %v %v", got, ok, err)
		}
	})
}

// asNobody runs f on a thread that respects file permissions even if the process is root's.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		err := unix.Capset(&header, &none[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("give up root's capabilities: %v", err)
	}
}
