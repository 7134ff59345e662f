package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// Install puts the named items (CPU, CUDA, DemoModel) into gorun's cache. What is already there is left as it is, at
// once and without network. progress, if not nil, gets a line for each thing done. An item appears in the cache whole
// or not at all; two processes that install the same item wait for each other.
func Install(ctx context.Context, names []string, progress io.Writer) error {
	s, err := defaultStore()
	if err != nil {
		return err
	}
	if progress == nil {
		progress = io.Discard
	}
	var items []item
	for _, name := range names {
		it, err := s.lookup(name)
		if err != nil {
			return err
		}
		items = append(items, it)
	}
	for _, it := range items {
		if err := s.install(ctx, it, progress); err != nil {
			return fmt.Errorf("plugins: install %s: %w", it.name, err)
		}
	}
	return nil
}

// install installs the item or, if PyPI has no such wheel for this machine, its fallback.
func (s store) install(ctx context.Context, it item, progress io.Writer) error {
	for choice := &it; choice != nil; choice = choice.fallback {
		if path, err := s.installed(*choice); err == nil {
			fmt.Fprintf(progress, "%s: installed at %s\n", it.name, path)
			return nil
		}
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("gorun has files for %s only, not for %s %s: name a plugin of your own by --plugin or %s",
			platform, runtime.GOOS, runtime.GOARCH, EnvPath)
	}
	err := s.installOne(ctx, it, progress)
	if it.fallback != nil && errors.Is(err, errNotPublished) {
		fmt.Fprintf(progress, "%s: %v\n%s: taking the second choice, %s\n", it.name, err, it.name, it.fallback.wheels[0].name)
		if second := s.installOne(ctx, *it.fallback, progress); second != nil {
			return errors.Join(err, second)
		}
		return nil
	}
	return err
}

func (s store) installOne(ctx context.Context, it item, progress io.Writer) (err error) {
	defer func() { err = explainDiskFull(err, s.dir) }()
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("%w: set GORUN_CACHE to a folder that you may write", err)
	}
	target := filepath.Join(s.dir, it.folder())
	unlock, err := lock(ctx, target+".lock", it.name, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if path, err := s.installed(it); err == nil { // by whom we waited for
		fmt.Fprintf(progress, "%s: installed at %s\n", it.name, path)
		return nil
	}
	if err := removeStale(target); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(s.dir, filepath.Base(target)+".partial-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()

	start := time.Now()
	tree := filepath.Join(tmp, "tree")
	if err := fetchWheels(ctx, it, tmp, tree, progress); err != nil {
		return err
	}
	if err := os.RemoveAll(target); err != nil { // a damaged installation
		return err
	}
	if err := os.Rename(tree, target); err != nil {
		return err
	}
	fmt.Fprintf(progress, "%s: installed at %s in %.1f s\n", it.name, filepath.Join(target, filepath.FromSlash(it.file)), time.Since(start).Seconds())
	return nil
}

// fetchWheels downloads the item's wheels one by one, so that only one is on disk at a time, and unpacks them in tree.
func fetchWheels(ctx context.Context, it item, tmp, tree string, progress io.Writer) error {
	var files []manifestFile
	for i, w := range it.wheels {
		size := ""
		if w.mib > 0 {
			size = fmt.Sprintf(" (%d MiB)", w.mib)
		}
		fmt.Fprintf(progress, "%s: downloading %s %s%s, %d of %d\n", it.name, w.name, w.version, size, i+1, len(it.wheels))
		dir := filepath.Join(tmp, "wheel")
		path, err := download(ctx, w, dir, progress)
		if err != nil {
			return fmt.Errorf("%s %s: %w", w.name, w.version, err)
		}
		kept, err := unpack(path, tree, w.keep)
		if err != nil {
			return fmt.Errorf("%s: unpack %s: %w", w.name, filepath.Base(path), err)
		}
		files = append(files, kept...)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if info, err := os.Stat(filepath.Join(tree, filepath.FromSlash(it.file))); err != nil || info.IsDir() {
		return fmt.Errorf("the wheels hold no %s: report this: gorun's table of wheels is wrong", it.file)
	}
	return writeManifest(tree, files)
}

// lock waits until this process alone installs what the lock file stands for.
func lock(ctx context.Context, path, name string, progress io.Writer) (unlock func() error, err error) {
	l := flock.New(path)
	got, err := l.TryLock()
	if err == nil && !got {
		fmt.Fprintf(progress, "%s: waiting for another gorun that installs it\n", name)
		_, err = l.TryLockContext(ctx, 200*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l.Close, nil
}

// removeStale removes what installations that were killed left behind. The caller holds the lock.
func removeStale(target string) error {
	entries, err := os.ReadDir(filepath.Dir(target))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(target)+".partial-") {
			err = errors.Join(err, os.RemoveAll(filepath.Join(filepath.Dir(target), e.Name())))
		}
	}
	return err
}

func explainDiskFull(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, errDiskFull) {
		return fmt.Errorf("%w: the disk of %s is full: make room, or set GORUN_CACHE to a folder on another disk", err, dir)
	}
	return err
}
