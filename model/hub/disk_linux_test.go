package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gorun/tools/skip"
	"gorun/tools/smalldisk"
)

// A child is this test binary again, told by its environment what to do.
const (
	childTask = "HUB_TEST_CHILD"
	childURL  = "HUB_TEST_URL"
	childDir  = "HUB_TEST_CACHE"
)

// runChild fetches the test model into the cache that the environment names; it prints the snapshot's path or the error.
func runChild() {
	if os.Getenv(childTask) == "small-files" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 50_000, Max: 50_000}); err != nil {
			fmt.Println(err)
			return
		}
	}
	c, err := New(Config{Endpoint: os.Getenv(childURL), Cache: os.Getenv(childDir), Token: reader})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.part = 7000
	got, err := c.Fetch(context.Background(), Request{Repo: Repo{Model, "acme/tiny"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Path)
}

func child(t *testing.T, task, url, cache string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childURL+"="+url, childDir+"="+cache)
	return cmd
}

// TestProcesses: two processes that fetch the same model download it once.
func TestProcesses(t *testing.T) {
	s := start(t)
	cache := t.TempDir()
	var out [2]chan string
	for i := range out {
		out[i] = make(chan string, 1)
		go func() {
			text, err := child(t, "fetch", s.URL, cache).Output()
			out[i] <- fmt.Sprint(string(text), err)
		}()
	}
	want := filepath.Join(cache, "models--acme--tiny", "snapshots")
	for i := range out {
		if text := <-out[i]; len(text) < len(want) || text[:len(want)] != want {
			t.Errorf("process %d: %s", i, text)
		}
	}
	if n := count(s, "/resolve/"); n != len(wholeModel) {
		t.Errorf("%d downloads of %d files", n, len(wholeModel))
	}
}

// TestKilled: a process that is killed in the middle of a download leaves no lock, and what it has written is used.
func TestKilled(t *testing.T) {
	s := start(t)
	cache := t.TempDir()
	cmd := child(t, "fetch", s.URL, cache)
	started := make(chan struct{})
	var seen atomic.Int32
	s.Fault("/contents/"+sha256Of(bytesOf(100_000, 1)), 12, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if seen.Add(1) < 12 { // of 15
			next.ServeHTTP(w, r)
			return
		}
		<-started
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	if err := cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	left, err := filepath.Glob(filepath.Join(cache, "*/blobs/"+sha256Of(bytesOf(100_000, 1))+".incomplete"))
	if err != nil || len(left) != 1 {
		t.Fatalf("left behind: %q (%v)", left, err)
	}
	info, err := os.Stat(left[0])
	if err != nil {
		t.Fatal(err)
	}
	before := count(s, "/contents/"+sha256Of(bytesOf(100_000, 1)))
	got, err := client(t, s, reader, func(cfg *Config) { cfg.Cache = cache }).Fetch(t.Context(), request(t, model))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, model, got, wholeModel...)
	noPartial(t, cache)
	want := (100_000 - int(info.Size()) + 6999) / 7000
	if n := count(s, "/contents/"+sha256Of(bytesOf(100_000, 1))) - before; n != want {
		t.Errorf("%d requests after %d bytes were there, want %d", n, info.Size(), want)
	}
}

// TestDiskFull: the error says what to do, what has come is kept, and with room the download goes on.
func TestDiskFull(t *testing.T) {
	t.Run("limit", func(t *testing.T) {
		s := start(t)
		cache := t.TempDir()
		out, err := child(t, "small-files", s.URL, cache).Output()
		if err != nil {
			t.Fatal(err)
		}
		says(t, errors.New(string(out)), nil, "no space for the download in "+cache, "HF_HUB_CACHE", "goes on from there")
		before := count(s, "/contents/")
		c := client(t, s, reader, func(cfg *Config) { cfg.Cache = cache })
		got, err := c.Fetch(t.Context(), request(t, model))
		if err != nil {
			t.Fatal(err)
		}
		contains(t, s, model, got, wholeModel...)
		if n := count(s, "/contents/") - before; n > 15 {
			t.Errorf("%d requests for contents after 50 kB were there", n)
		}
	})
	t.Run("full file system", func(t *testing.T) {
		dir := smalldisk.Mount(t, 96)
		s := start(t)
		c := client(t, s, reader, func(cfg *Config) { cfg.Cache = dir })
		_, err := c.Fetch(t.Context(), request(t, model))
		says(t, err, ErrNoSpace, "are needed", "are free")
		if n := count(s, "/contents/"); n != 0 {
			t.Errorf("%d requests for contents that have no room", n)
		}
	})
}

// TestReadOnly: a cache that cannot be written to serves what it has, and says so where it lacks something.
func TestReadOnly(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	if _, err := c.Fetch(t.Context(), request(t, model)); err != nil {
		t.Fatal(err)
	}
	cache := c.cfg.Cache
	if os.Geteuid() == 0 { // root writes in spite of permissions
		if err := unix.Mount(cache, cache, "", unix.MS_BIND, ""); err != nil {
			skip.Because(t, "mounting is not permitted: "+err.Error())
		}
		t.Cleanup(func() {
			if err := unix.Unmount(cache, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		if err := unix.Mount("", cache, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := os.Chmod(cache, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Chmod(cache, 0o755); err != nil {
				t.Error(err)
			}
		})
	}
	s.Tag(model, "v1") // a name that the cache does not have for a commit that it has
	for _, revision := range []string{"main", "v1"} {
		r := request(t, model)
		r.Revision = revision
		got, err := c.Fetch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		contains(t, s, model, got, wholeModel...)
	}
	_, err := c.Fetch(t.Context(), request(t, dataset))
	says(t, err, nil, "the cache "+cache+" cannot be written to", "HF_HUB_CACHE")
}
