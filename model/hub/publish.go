package hub

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Upload is a file to publish: contents in memory, or a file on the disk.
type Upload struct {
	Path string // in the repository, slash-separated
	Data []byte // contents, if From is ""
	From string // path of the file that holds the contents
}

// Publication says what is published, and where.
type Publication struct {
	Repo     Repo
	Private  bool   // the repository must be private; it is made so if it is new
	Message  string // first line of the commit
	Files    []Upload
	Progress Progress // nil = none
}

// Published is what became of a publication.
type Published struct {
	Commit string
	URL    string // the repository's page
}

// Publish makes the repository unless there is one, uploads large contents, and makes all files visible by one commit:
// nothing of a publication that fails is seen. Files of the repository that are not named stay as they are.
func (c *Client) Publish(ctx context.Context, p Publication) (*Published, error) {
	if p.Progress == nil {
		p.Progress = silent{}
	}
	if c.cfg.Offline {
		return nil, fmt.Errorf("publish %s: %w", p.Repo, ErrOffline)
	}
	if c.cfg.Token == "" {
		return nil, fmt.Errorf("publish %s: %w: this needs a token with write access: make one at %s", p.Repo, ErrAccess, c.login())
	}
	out, err := c.publish(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", c.explain(p.Repo, MainRevision, err))
	}
	return out, nil
}

func (c *Client) publish(ctx context.Context, p Publication) (*Published, error) {
	files, err := inspect(p.Files)
	if err != nil {
		return nil, err
	}
	if err := c.create(ctx, p.Repo, p.Private); err != nil {
		return nil, err
	}
	// What a server makes of a wish for privacy is looked at before anything is sent.
	info, err := c.info(ctx, p.Repo, MainRevision)
	if err != nil {
		return nil, err
	}
	if p.Private && !info.Private {
		return nil, fmt.Errorf("it is public, and --private was asked for: make it private at %s, or choose another name; nothing was uploaded", c.url(p.Repo.page()+"/settings"))
	}
	if err := c.modes(ctx, p.Repo, files); err != nil {
		return nil, err
	}
	if err := c.uploadLFS(ctx, p.Repo, files, p.Progress); err != nil {
		return nil, err
	}
	commit, err := c.commit(ctx, p, files)
	if err != nil {
		return nil, err
	}
	return &Published{commit, c.url(p.Repo.page())}, nil
}

// upload is a file on its way.
type upload struct {
	Upload
	size   int64
	sha256 string // hexadecimal; only of LFS files, else ""
	sample []byte // the first bytes, by which the Hub tells text from binary
	lfs    bool
	skip   bool // the repository's .gitignore names it
}

// sampleSize is what the Hub's own client sends.
const sampleSize = 512

// open opens the contents.
func (u *upload) open() (io.ReadSeekCloser, error) {
	if u.From == "" {
		return readCloser{bytes.NewReader(u.Data)}, nil
	}
	return os.Open(u.From)
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// inspect checks names and looks at the contents.
func inspect(files []Upload) ([]*upload, error) {
	var out []*upload
	seen := map[string]bool{}
	for _, f := range files {
		if !safePath(f.Path) || seen[f.Path] {
			return nil, fmt.Errorf("%q cannot be the name of a file in a repository, or is there twice", clip(f.Path))
		}
		seen[f.Path] = true
		u := &upload{Upload: f}
		r, err := u.open()
		if err != nil {
			return nil, err
		}
		u.sample = make([]byte, sampleSize)
		n, err := io.ReadFull(r, u.sample)
		u.sample = u.sample[:n]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		if err == nil {
			u.size, err = r.Seek(0, io.SeekEnd)
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		out = append(out, u)
	}
	return out, nil
}

// create makes the repository; that it is there already is fine.
func (c *Client) create(ctx context.Context, r Repo, private bool) error {
	org, name, ok := strings.Cut(r.ID, "/")
	if !ok {
		return fmt.Errorf("%q: give the repository as ORG/NAME, where ORG is an organization or your account", r.ID)
	}
	visibility := "public"
	if private {
		visibility = "private"
	}
	_, err := c.call(ctx, http.MethodPost, c.url("/api/repos/create"), map[string]string{
		"type": string(r.Kind), "organization": org, "name": name, "visibility": visibility,
	}, nil)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusConflict {
		return nil
	}
	return err
}

// modes asks how each file is to be sent: within the commit, or to LFS before.
func (c *Client) modes(ctx context.Context, r Repo, files []*upload) error {
	type file struct {
		Path   string `json:"path"`
		Sample string `json:"sample"`
		Size   int64  `json:"size"`
	}
	var ask struct {
		Files []file `json:"files"`
	}
	for _, u := range files {
		ask.Files = append(ask.Files, file{u.Path, base64.StdEncoding.EncodeToString(u.sample), u.size})
	}
	var reply struct {
		Files []struct {
			Path         string `json:"path"`
			UploadMode   string `json:"uploadMode"`
			ShouldIgnore bool   `json:"shouldIgnore"`
		} `json:"files"`
	}
	if _, err := c.call(ctx, http.MethodPost, c.url(r.api("preupload", MainRevision)), ask, &reply); err != nil {
		return err
	}
	told := map[string]bool{}
	for _, f := range reply.Files {
		for _, u := range files {
			if u.Path == f.Path {
				u.lfs = f.UploadMode == "lfs" && u.size > 0 // an empty file has nothing to store elsewhere
				u.skip = f.ShouldIgnore
				told[u.Path] = true
			}
		}
	}
	for _, u := range files {
		if !told[u.Path] {
			return fmt.Errorf("%w: it does not say how to send %s", ErrHostile, u.Path)
		}
		if u.skip {
			return fmt.Errorf("the repository's .gitignore names %s: nothing was committed", u.Path)
		}
	}
	return nil
}

// commit makes all files visible. It is one request of JSON lines: a header, then a line for each file.
func (c *Client) commit(ctx context.Context, p Publication, files []*upload) (string, error) {
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	type line struct {
		Key   string `json:"key"`
		Value any    `json:"value"`
	}
	if err := lines.Encode(line{"header", map[string]string{"summary": p.Message, "description": ""}}); err != nil {
		return "", err
	}
	for _, u := range files {
		value := any(map[string]any{"path": u.Path, "algo": "sha256", "oid": u.sha256, "size": u.size})
		key := "lfsFile"
		if !u.lfs {
			content, err := u.contents()
			if err != nil {
				return "", err
			}
			key, value = "file", map[string]any{"path": u.Path, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(content)}
		}
		if err := lines.Encode(line{key, value}); err != nil {
			return "", err
		}
	}
	var reply struct {
		Commit string `json:"commitOid"`
	}
	header := http.Header{"Content-Type": {"application/x-ndjson"}}
	if _, err := c.exchange(ctx, http.MethodPost, c.url(p.Repo.api("commit", MainRevision)), header, body.Bytes(), &reply); err != nil {
		return "", err
	}
	if !commitPattern.MatchString(reply.Commit) {
		return "", fmt.Errorf("%w: %q is no commit", ErrHostile, clip(reply.Commit))
	}
	return reply.Commit, nil
}

// maxRegular bounds a file that is sent within the commit; the Hub sends larger ones to LFS anyway.
const maxRegular = 32 << 20

func (u *upload) contents() ([]byte, error) {
	r, err := u.open()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxRegular+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", u.Path, err)
	}
	if len(text) > maxRegular {
		return nil, fmt.Errorf("%s: the Hub wants it within the commit, and it is larger than %d MiB", u.Path, maxRegular>>20)
	}
	return text, nil
}
