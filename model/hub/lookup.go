package hub

import (
	"fmt"
	"os"
	"path/filepath"
)

// lookup finds a snapshot in the cache. sure tells that the cache has the commit's listing and every file asked for.
// Without the listing, as older releases of huggingface_hub left it, it is taken as it is.
func (c *Client) lookup(r *Request) (s *Snapshot, sure bool, err error) {
	if err := r.settle(); err != nil {
		return nil, false, err
	}
	f := c.folder(r.Repo)
	commit, ok := f.readRef(r.Revision)
	if !ok {
		return nil, false, c.notCached(r, "")
	}
	all, ok := f.readTree(commit)
	if !ok {
		entries, err := os.ReadDir(f.snapshot(commit))
		if err != nil || len(entries) == 0 {
			return nil, false, c.notCached(r, "")
		}
		return snapshotOf(f, commit, nil), false, nil
	}
	want, err := choose(r.Repo, all, r.Include)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", r.Repo, err)
	}
	if want.indexed {
		text, err := os.ReadFile(filepath.Join(f.snapshot(commit), indexFile))
		if err != nil {
			return nil, false, c.notCached(r, indexFile)
		}
		if want, err = want.shards(all, text); err != nil {
			return nil, false, fmt.Errorf("%s: %w", r.Repo, err)
		}
	}
	for _, e := range want.entries {
		if !f.has(commit, e) {
			return nil, false, c.notCached(r, e.Path)
		}
	}
	return snapshotOf(f, commit, want.entries), true, nil
}

// notCached is the error of a snapshot that is not there, or of which a file is not there.
func (c *Client) notCached(r *Request, file string) error {
	what := fmt.Sprintf("%s at %s", r.Repo, r.Revision)
	if file != "" {
		what = file + " of " + what
	}
	err := fmt.Errorf("%s: %w %s", what, ErrNotCached, c.cfg.Cache)
	if !c.cfg.Offline {
		return err
	}
	flag := ""
	if r.Repo.Kind == Dataset {
		flag = " --dataset"
	}
	return fmt.Errorf("%w, and %w: run `gorun fetch%s %s` where there is a network, or unset it", err, ErrOffline, flag, r.Repo.ID)
}
