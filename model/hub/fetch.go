package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Request says what is wanted.
type Request struct {
	Repo     Repo
	Revision string   // branch, tag or commit; "" = main
	Include  []string // globs: these files instead of those that training needs
	Progress Progress // nil = none
}

// Snapshot is what the cache holds of a repository at a commit: at least the files that were asked for.
type Snapshot struct {
	Path   string // the folder
	Commit string
	Files  []string // what was asked for, slash-separated
}

// filesAtOnce bounds how many files are worked on; connections are bounded by themselves.
const filesAtOnce = 4

func (r *Request) settle() error {
	r.Revision = cmp.Or(r.Revision, MainRevision)
	if r.Progress == nil {
		r.Progress = silent{}
	}
	return checkRevision(r.Revision)
}

// Open returns the snapshot from the cache if it is whole there, without network, and fetches it otherwise. So a run
// that starts again, and every rank of it, has the files that it began with; Fetch follows a branch that moved.
func (c *Client) Open(ctx context.Context, r Request) (*Snapshot, error) {
	s, sure, err := c.lookup(&r)
	if err == nil && (sure || c.cfg.Offline) {
		return s, nil
	}
	if err != nil && (!errors.Is(err, ErrNotCached) || c.cfg.Offline) {
		return nil, err
	}
	fetched, err := c.Fetch(ctx, r)
	if err != nil && s != nil && ctx.Err() == nil {
		c.cfg.Log.Warn().Msgf("%v: taking what the cache has, which may lack files", err)
		return s, nil
	}
	return fetched, err
}

// Fetch brings the snapshot up to date with the Hub and returns it. Offline, or where the Hub cannot be reached or is in
// trouble, it returns what the cache has, if that is whole.
func (c *Client) Fetch(ctx context.Context, r Request) (*Snapshot, error) {
	if err := r.settle(); err != nil {
		return nil, err
	}
	if c.cfg.Offline {
		s, _, err := c.lookup(&r)
		return s, err
	}
	s, err := c.fetchAmong(ctx, r)
	if err == nil || ctx.Err() != nil || !transient(err) && !nameless(err) {
		return s, c.explain(r.Repo, r.Revision, err)
	}
	cached, _, missing := c.lookup(&r)
	if missing != nil {
		return nil, c.explain(r.Repo, r.Revision, err)
	}
	c.cfg.Log.Warn().Msgf("%s: %v: using the cache", r.Repo, err)
	return cached, nil
}

func (c *Client) fetch(ctx context.Context, r Request) (*Snapshot, error) {
	f := c.folder(r.Repo)
	commit := r.Revision
	if !commitPattern.MatchString(commit) {
		info, err := c.info(ctx, r.Repo, r.Revision)
		if err != nil {
			return nil, err
		}
		commit = info.Commit
	}
	all, ok := f.readTree(commit)
	if !ok {
		var err error
		if all, err = c.list(ctx, r.Repo, commit); err != nil {
			return nil, err
		}
	}
	d := &delivery{client: c, Request: r, folder: f, commit: commit}
	d.source = func(e Entry) *source {
		return &source{client: c, url: c.url(r.Repo.file(commit, e.Path)), entry: e}
	}
	return d.all(ctx, all, ok)
}

// all brings everything of a listing that is wanted, and makes the snapshot known; kept tells whether the cache has the
// listing.
func (d *delivery) all(ctx context.Context, all []Entry, kept bool) (*Snapshot, error) {
	r, f := d.Request, d.folder
	want, err := choose(r.Repo, all, r.Include)
	if err != nil {
		return nil, err
	}
	defer r.Progress.End()
	if want.indexed {
		if err := d.bring(ctx, indexOf(want.entries), silent{}); err != nil {
			return nil, f.explainDisk(err)
		}
		if want, err = d.addShards(want, all); err != nil {
			return nil, err
		}
	}
	if err := d.bring(ctx, want.entries, r.Progress); err != nil {
		return nil, f.explainDisk(err)
	}
	if err := errors.Join(d.keepTree(all, kept), f.writeRef(r.Revision, d.commit)); err != nil && len(d.brought) > 0 {
		return nil, f.explainDisk(err) // else the cache may be read-only: it has all that is needed
	}
	return snapshotOf(f, d.commit, want.entries), nil
}

func snapshotOf(f folder, commit string, entries []Entry) *Snapshot {
	s := &Snapshot{Path: f.snapshot(commit), Commit: commit}
	for _, e := range entries {
		s.Files = append(s.Files, e.Path)
	}
	return s
}

func indexOf(entries []Entry) []Entry {
	for _, e := range entries {
		if e.Path == indexFile {
			return []Entry{e}
		}
	}
	return nil
}

// delivery is one fetch under way.
type delivery struct {
	client *Client
	Request
	folder  folder
	commit  string
	source  func(Entry) *source // where contents come from
	brought []Entry             // what was not there before
}

func (d *delivery) keepTree(all []Entry, kept bool) error {
	if kept {
		return nil
	}
	return d.folder.writeTree(d.commit, all)
}

// addShards adds the shards that the index, which is in the snapshot now, names.
func (d *delivery) addShards(want choice, all []Entry) (choice, error) {
	text, err := os.ReadFile(filepath.Join(d.folder.snapshot(d.commit), indexFile))
	if err != nil {
		return want, err
	}
	return want.shards(all, text)
}

// bring makes entries part of the snapshot.
func (d *delivery) bring(ctx context.Context, entries []Entry, progress Progress) error {
	var missing []Entry
	var bytes, need int64
	for _, e := range entries {
		if d.folder.has(d.commit, e) {
			continue
		}
		missing = append(missing, e)
		bytes += e.Size
		need += e.Size - d.folder.present(e)
	}
	if len(missing) == 0 {
		return nil
	}
	if err := d.folder.room(need); err != nil {
		return err
	}
	progress.Begin(d.Repo.String(), len(missing), bytes)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(filesAtOnce)
	for _, e := range missing {
		work.Go(func() error {
			if err := d.client.fetchBlob(ctx, d.folder, d.source(e), progress); err != nil {
				return fmt.Errorf("%s: %w", e.Path, err)
			}
			return d.folder.point(d.commit, e)
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	d.brought = append(d.brought, missing...)
	return nil
}

// present is how many bytes of an entry's contents are on the disk.
func (f folder) present(e Entry) int64 {
	for _, path := range []string{f.blob(e), f.blob(e) + ".incomplete"} {
		if info, err := os.Stat(path); err == nil && info.Size() <= e.Size {
			return info.Size()
		}
	}
	return 0
}

// room makes the cache's folder and refuses a download that its disk has no room for.
func (f folder) room(need int64) error {
	if err := os.MkdirAll(f.dir, 0o777); err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(f.dir, &disk); err != nil {
		return nil //nolint:nilerr // a file system that does not tell: the download will
	}
	if free := disk.Bavail * uint64(disk.Frsize); free < uint64(need) {
		return fmt.Errorf("%s are needed, %s are free: %w", humanize.IBytes(uint64(need)), humanize.IBytes(free), unix.ENOSPC)
	}
	return nil
}
