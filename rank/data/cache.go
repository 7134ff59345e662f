package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"gorun/configs"
)

// Cache keeps data sets that have been tokenised, for the next run and for the other ranks of a node: of those that want
// the same one, the first tokenises while the others wait and then read the file that it has written.
//
// A data set's name is the digest of all that it is made of: the contents and the path of its files, the tokenizer, the
// chat template, the recipe's settings, and the program itself. So nothing in the cache is ever out of date; what is not
// used any more is what was used longest ago, and goes when the cache outgrows its bound.
type Cache struct {
	Dir       string   // "" = nothing is kept
	Tokenizer string   // digest of what the tokenizer is made of
	Bound     int64    // bytes, beside the newest data set; 0 = 8 GiB
	Progress  Progress // nil = nobody is told
}

const (
	cacheBound = 8 << 30
	cacheExt   = ".tokens"
)

// asked is what a data set is made of, beside its files.
type asked struct {
	config         configs.Dataset
	tok            Tokenizer
	longest, vocab int
}

// Build is the function Build, or what it gave before. What cannot be kept is made for this process alone.
func (k Cache) Build(ctx context.Context, c configs.Dataset, tok Tokenizer, longest, vocab int) (*Dataset, error) {
	a := asked{c, tok, longest, vocab}
	name, stamp, err := k.name(ctx, a)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil || name == "" {
		return k.alone(ctx, a) // which says what is wrong with the files
	}
	path := filepath.Join(k.Dir, name+cacheExt)
	if t, err := openTokens(path); err == nil {
		return used(path, t), nil
	}
	if err := os.MkdirAll(k.Dir, 0o755); err != nil {
		k.note(explainDisk(err, k.Dir, 0).Error())
		return k.alone(ctx, a)
	}
	// Names share sixteen locks, so that these do not pile up. Where there are no locks, more than one may tokenise.
	lock := flock.New(filepath.Join(k.Dir, "lock-"+name[:1]))
	waiting := later(func() { k.note("waiting for another process that tokenises " + c.PathOrID) })
	locked, _ := lock.TryLockContext(ctx, 50*time.Millisecond)
	waiting()
	if locked {
		defer lock.Close() //nolint:errcheck // closing gives it up whatever comes of it
		k.sweep(name[:1])
	}
	t, err := openTokens(path)
	if err == nil {
		return used(path, t), nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		k.note(fmt.Sprintf("%v: tokenising %s again", err, c.PathOrID))
	}
	return k.make(ctx, a, name, stamp)
}

// make tokenises into a file of the cache.
func (k Cache) make(ctx context.Context, a asked, name string, stamp []byte) (*Dataset, error) {
	to := &spool{dir: k.Dir, pattern: unfinished(name[:1]) + "*"}
	d, err := build(ctx, a, to, k.Progress)
	if err != nil {
		return nil, err
	}
	files, err := stamps(a.config)
	if err != nil || !slices.Equal(files, stamp) { // they changed meanwhile: who knows what has been read
		return d, nil //nolint:nilerr // the samples are there
	}
	if err := to.publish(filepath.Join(k.Dir, name+cacheExt)); err != nil {
		k.note(fmt.Sprintf("tokenised data is not kept for the next run: %v", explainDisk(err, k.Dir, to.size)))
		return d, nil
	}
	k.trim(name + cacheExt)
	return d, nil
}

// alone tokenises for this process alone. What does not fit in memory lies in the cache's folder all the same, if there
// is one: the system's for temporary files is often in memory.
func (k Cache) alone(ctx context.Context, a asked) (*Dataset, error) {
	to := &spool{}
	if info, err := os.Stat(k.Dir); err == nil && info.IsDir() && unix.Access(k.Dir, unix.W_OK) == nil {
		to.dir = k.Dir
	}
	return build(ctx, a, to, k.Progress)
}

// used is a data set of the cache, marked as used now.
func used(path string, t *tokens) *Dataset {
	now := time.Now()
	_ = os.Chtimes(path, now, now) // of somebody else's file: it only counts as older than it is
	d := newDataset(t)
	d.Cached = true
	return d
}

func (k Cache) note(line string) {
	if k.Progress != nil {
		k.Progress.Note(line)
	}
}

// unfinished is how the names of files begin that are made under a lock.
func unfinished(lock string) string { return ".tokens-" + lock + "-" }

// sweep removes what processes left behind that were killed while they had the lock, which is ours now.
func (k Cache) sweep(lock string) {
	left, err := filepath.Glob(filepath.Join(k.Dir, unfinished(lock)+"*"))
	for i := 0; err == nil && i < len(left); i++ {
		_ = os.Remove(left[i]) // it is in nobody's way
	}
}

// trim removes what was used longest ago until the rest is within the bound; keep is not counted. What other processes
// remove meanwhile is gone, and what they read stays readable to them.
func (k Cache) trim(keep string) {
	entries, err := os.ReadDir(k.Dir)
	if err != nil {
		return
	}
	var kept []fs.FileInfo
	var sum int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), cacheExt) && e.Name() != keep {
			kept = append(kept, info)
			sum += info.Size()
		}
	}
	slices.SortFunc(kept, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, info := range kept {
		if sum <= cmp.Or(k.Bound, cacheBound) {
			return
		}
		if err := os.Remove(filepath.Join(k.Dir, info.Name())); err == nil || errors.Is(err, fs.ErrNotExist) {
			sum -= info.Size()
		}
	}
}
