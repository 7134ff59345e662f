package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"gorun/configs"
)

// Cache keeps data sets that have been tokenised, for the next run and for the other ranks of a node: of those that want
// the same one, the first tokenises while the others wait and then read it.
//
// A data set's name is the digest of all that it is made of: the contents and the path of its files, the tokenizer, the
// chat template, the recipe's settings, and the program itself. So nothing in the cache is ever out of date; what is not
// used any more is what was used longest ago, and goes when the cache outgrows its bound.
type Cache struct {
	Dir       string // "" = nothing is kept
	Tokenizer string // digest of what the tokenizer is made of
	Bound     int64  // bytes; 0 = 8 GiB
}

const (
	cacheBound = 8 << 30
	cacheExt   = ".tokens.zst"
)

// Build is the function Build, or what it gave before. A cache that cannot be read or written costs time, and nothing
// else.
func (k Cache) Build(c configs.Dataset, tok Tokenizer, longest, vocab int) (*Dataset, error) {
	build := func() (*Dataset, error) { return Build(c, tok, longest, vocab) }
	before, err := k.name(c, tok, longest)
	if err != nil || before == "" {
		return build() // which says what is wrong with the files
	}
	if err := os.MkdirAll(k.Dir, 0o755); err != nil {
		return build()
	}
	// Names share sixteen locks, so that these do not pile up. Where there are no locks, more than one may tokenise.
	lock := flock.New(filepath.Join(k.Dir, "lock-"+before[:1]))
	if lock.Lock() == nil {
		defer lock.Close() //nolint:errcheck // closing gives it up whatever comes of it
	}
	path := filepath.Join(k.Dir, before+cacheExt)
	if d, err := readCached(path); err == nil {
		return d, nil
	}
	d, err := build()
	if err != nil {
		return nil, err
	}
	if after, err := k.name(c, tok, longest); err == nil && after == before && writeCached(path, d) == nil { // else the files changed meanwhile
		k.trim()
	}
	return d, nil
}

// name is a data set's name in the cache, "" if it is not for the cache: what is made up, or small, or depends on the day.
func (k Cache) name(c configs.Dataset, tok Tokenizer, longest int) (string, error) {
	if k.Dir == "" || c.Kind == "mock" || strings.HasPrefix(c.PathOrID, configs.DemoPrefix) || strings.Contains(tok.ChatTemplate(), "strftime_now") {
		return "", nil
	}
	h := sha256.New()
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(program)
	if err != nil {
		return "", err
	}
	c.NumWorkers, c.Revision = 0, ""
	settings, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	write := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
	write(fmt.Sprint(info.Size(), info.ModTime().UnixNano(), longest))
	write(string(settings))
	write(k.Tokenizer)
	write(tok.ChatTemplate())
	for _, special := range []func() (int32, bool){tok.BOS, tok.EOS, tok.Pad} {
		id, ok := special()
		write(fmt.Sprint(id, ok))
	}
	files, err := resolve(c.PathOrID, c.Split)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		write(f)
		if err := hashFile(h, f); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFile adds a file's contents, with its length behind them.
func hashFile(h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, f, make([]byte, 1<<20))
	fmt.Fprintf(h, ":%d", n)
	return err
}

// trim removes what was used longest ago until the rest is within the bound. What other processes remove meanwhile is gone.
func (k Cache) trim() {
	entries, err := os.ReadDir(k.Dir)
	if err != nil {
		return
	}
	var kept []fs.FileInfo
	var sum int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), cacheExt) {
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
