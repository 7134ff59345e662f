package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Entry is a file of a repository at a commit.
type Entry struct {
	Path   string // slash-separated; it was checked that it stays below the folder of the snapshot
	Size   int64  // bytes of the contents
	Git    string // git's sha1 of the blob (of the pointer, for an LFS file)
	SHA256 string // of the contents; only of an LFS file
	Xet    string // hash of the contents in Xet storage, or ""; only kept for the cache's listing
}

// etag is the name of the contents: in the cache, and in the ETag header.
func (e Entry) etag() string {
	if e.SHA256 != "" {
		return e.SHA256
	}
	return e.Git
}

// Info is what the Hub says about a repository at a revision.
type Info struct {
	Commit  string
	Private bool
}

// Limits on a listing.
const (
	maxPages   = 2000
	maxEntries = 500_000
	maxSize    = 1 << 46 // bytes of a file: 64 TiB
)

var (
	sha1Pattern   = commitPattern
	sha256Pattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// info asks for the commit that a revision stands for.
func (c *Client) info(ctx context.Context, r Repo, revision string) (Info, error) {
	var reply struct {
		SHA      string `json:"sha"`
		Private  bool   `json:"private"`
		Disabled bool   `json:"disabled"`
	}
	if _, err := c.call(ctx, http.MethodGet, c.url(r.api("revision", revision)), nil, &reply); err != nil {
		return Info{}, err
	}
	if reply.Disabled {
		return Info{}, fmt.Errorf("%w: the Hub has disabled it: see %s", ErrAccess, c.url(r.page()))
	}
	if !commitPattern.MatchString(reply.SHA) {
		return Info{}, fmt.Errorf("%w: %q is no commit: is HF_ENDPOINT a Hub?", ErrHostile, clip(reply.SHA))
	}
	return Info{reply.SHA, reply.Private}, nil
}

// list asks for all files of a commit, page by page.
func (c *Client) list(ctx context.Context, r Repo, commit string) ([]Entry, error) {
	var all []Entry
	next := c.url(r.api("tree", commit)) + "?recursive=true&expand=false"
	for page := 0; next != ""; page++ {
		if page == maxPages || len(all) > maxEntries {
			return nil, fmt.Errorf("%w: a listing without end", ErrHostile)
		}
		var reply json.RawMessage
		header, err := c.call(ctx, http.MethodGet, next, nil, &reply)
		if err != nil {
			return nil, err
		}
		entries, err := parseTree(reply)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
		if next, err = c.nextPage(header.Get("Link")); err != nil {
			return nil, err
		}
	}
	return all, checkUnique(all)
}

var nextLink = regexp.MustCompile(`<([^<>]*)>\s*;[^,]*\brel="?next"?`)

// nextPage is the URL of a listing's next page, "" after the last. It is always asked of the endpoint: a mirror hands on
// links to the Hub that it mirrors.
func (c *Client) nextPage(link string) (string, error) {
	m := nextLink.FindStringSubmatch(link)
	if m == nil {
		return "", nil
	}
	u, err := url.Parse(m[1])
	if err != nil {
		return "", fmt.Errorf("%w: the listing's next page: %w", ErrHostile, err)
	}
	path := strings.TrimPrefix(u.EscapedPath(), strings.TrimRight(c.base.EscapedPath(), "/"))
	return c.url(path) + "?" + u.RawQuery, nil
}

// treeItem is an element of the reply of the tree endpoint.
type treeItem struct {
	Type string `json:"type"` // file or directory
	OID  string `json:"oid"`
	Size int64  `json:"size"`
	Path string `json:"path"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
	Xet string `json:"xetHash"`
}

// parseTree reads one page of a listing. One bad entry makes the whole of it bad: a server that lists what cannot be
// is not asked for files.
func parseTree(text []byte) ([]Entry, error) {
	var items []treeItem
	if err := json.Unmarshal(text, &items); err != nil {
		return nil, fmt.Errorf("%w: the listing: %w", ErrHostile, err)
	}
	var out []Entry
	for _, it := range items {
		if it.Type != "file" {
			continue
		}
		e := Entry{Path: it.Path, Size: it.Size, Git: it.OID, Xet: it.Xet}
		if it.LFS != nil {
			e.SHA256, e.Size = it.LFS.OID, it.LFS.Size
		}
		if err := e.check(); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// check refuses an entry that must not become a path or a length.
func (e *Entry) check() error {
	switch {
	case !safePath(e.Path):
		return fmt.Errorf("%w: the listing names %q, which is no file of a repository", ErrHostile, clip(e.Path))
	case e.Size < 0 || e.Size > maxSize:
		return fmt.Errorf("%w: the listing gives %s %d bytes", ErrHostile, clip(e.Path), e.Size)
	case !sha1Pattern.MatchString(e.Git) || e.SHA256 != "" && !sha256Pattern.MatchString(e.SHA256):
		return fmt.Errorf("%w: the listing gives %s no proper hash (%q, %q)", ErrHostile, clip(e.Path), clip(e.Git), clip(e.SHA256))
	}
	if !sha256Pattern.MatchString(e.Xet) {
		e.Xet = ""
	}
	return nil
}

// checkUnique refuses a listing where two entries are one path, or one is a folder of another.
func checkUnique(all []Entry) error {
	files := make(map[string]bool, len(all))
	for _, e := range all {
		if files[e.Path] {
			return fmt.Errorf("%w: the listing names %s twice", ErrHostile, clip(e.Path))
		}
		files[e.Path] = true
	}
	for _, e := range all {
		for at := strings.LastIndexByte(e.Path, '/'); at > 0; at = strings.LastIndexByte(e.Path[:at], '/') {
			if files[e.Path[:at]] {
				return fmt.Errorf("%w: in the listing %s is a file and a folder", ErrHostile, clip(e.Path[:at]))
			}
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return nil
}
