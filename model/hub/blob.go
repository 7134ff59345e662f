package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// digest is the hash that an entry's contents must have: sha256 of an LFS file; of another, git's sha1 of its blob
// object, which starts with the length.
func (e Entry) digest() hash.Hash {
	if e.SHA256 != "" {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", e.Size)
	return h
}

// fetchBlob makes sure that an entry's contents are in the cache. One process of the node downloads them, the others
// wait for it. A download that was cut goes on where it stopped.
func (c *Client) fetchBlob(ctx context.Context, f folder, from *source, p Progress) (err error) {
	e := from.entry
	unlock, err := f.lock(ctx, e, func() { p.Note("waiting for another process that downloads " + e.Path) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if info, err := os.Stat(f.blob(e)); err == nil && info.Size() == e.Size { // by whom we waited for
		p.Add(e.Size)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(f.blob(e)), 0o777); err != nil {
		return err
	}
	resumed, err := c.download(ctx, from, f.blob(e), p)
	if errors.Is(err, ErrMismatch) && resumed {
		// What an earlier process left was bad: once more, from the start.
		p.Note(e.Path + ": what an earlier download left is damaged: starting over")
		_, err = c.download(ctx, from, f.blob(e), p)
	}
	return err
}

// download brings contents to path by way of path.incomplete. resumed tells whether it began with bytes that were there.
func (c *Client) download(ctx context.Context, s *source, path string, p Progress) (resumed bool, err error) {
	partial := path + ".incomplete"
	t, err := openTransfer(s, partial, p)
	if err != nil {
		return false, err
	}
	resumed = t.done > 0
	err = t.run(ctx)
	if errors.Is(err, errNoRanges) {
		err = t.whole(ctx)
	}
	if err == nil {
		err = t.verify()
	}
	if err == nil {
		err = t.file.Sync()
	}
	err = errors.Join(err, t.file.Close())
	switch {
	case err == nil:
		return resumed, os.Rename(partial, path)
	case errors.Is(err, ErrMismatch):
		p.Add(-t.done)
		err = errors.Join(err, removeIfThere(partial)) // nothing to go on from
	}
	return resumed, err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openTransfer opens the partial file and takes in what it holds already.
func openTransfer(s *source, partial string, p Progress) (*transfer, error) {
	file, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	t := &transfer{source: s, file: file, sum: s.entry.digest(), progress: p}
	info, err := file.Stat()
	if err == nil && info.Size() > s.entry.Size {
		err = file.Truncate(0)
	} else if err == nil {
		t.done, err = io.Copy(t.sum, io.LimitReader(file, info.Size()))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	p.Add(t.done)
	return t, nil
}

// verify compares what was written with what the listing promised.
func (t *transfer) verify() error {
	e := t.source.entry
	if t.done != e.Size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrMismatch, e.Path, t.done, e.Size)
	}
	if got := hex.EncodeToString(t.sum.Sum(nil)); got != e.etag() {
		return fmt.Errorf("%w: the hash of %s is %s, not %s: it was damaged on its way, or changed by a proxy or a mirror; it was not kept", ErrMismatch, e.Path, got, e.etag())
	}
	return nil
}
