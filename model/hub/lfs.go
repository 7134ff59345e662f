package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// action is what a Git LFS server says about one transfer: where to, and with which headers. The Hub's multipart
// transfer puts the addresses of the parts among the headers: "chunk_size", "00001", "00002" ...
type action struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header"`
}

// object is a Git LFS server's reply about one file.
type object struct {
	OID     string `json:"oid"`
	Actions *struct {
		Upload *action `json:"upload"`
		Verify *action `json:"verify"`
	} `json:"actions"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

const lfsMedia = "application/vnd.git-lfs+json"

// uploadLFS sends the contents of LFS files. What the Hub has already is not sent again: a publication that was cut
// goes on where it stopped, file by file.
func (c *Client) uploadLFS(ctx context.Context, r Repo, all []*upload, progress Progress) error {
	files := map[string]*upload{}
	var bytes int64
	for _, u := range all {
		if !u.lfs {
			continue
		}
		if err := u.hash(); err != nil {
			return err
		}
		files[u.sha256] = u
		bytes += u.size
	}
	if len(files) == 0 {
		return nil
	}
	objects, err := c.batch(ctx, r, files)
	if err != nil {
		return err
	}
	progress.Begin(r.String(), len(files), bytes)
	defer progress.End()
	for _, o := range objects {
		u := files[o.OID]
		if o.Actions == nil || o.Actions.Upload == nil { // the Hub has it
			progress.Add(u.size)
			continue
		}
		if err := c.uploadOne(ctx, u, o.Actions.Upload, progress); err != nil {
			return fmt.Errorf("upload %s: %w", u.Path, err)
		}
		if v := o.Actions.Verify; v != nil {
			if err := fromServer(v.Href); err != nil {
				return err
			}
			if _, err := c.call(ctx, http.MethodPost, v.Href, map[string]any{"oid": u.sha256, "size": u.size}, nil); err != nil {
				return fmt.Errorf("verify %s: %w", u.Path, err)
			}
		}
	}
	return nil
}

func (u *upload) hash() error {
	f, err := u.open()
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", u.Path, err)
	}
	if n != u.size {
		return fmt.Errorf("%s changes while it is published", u.Path)
	}
	u.sha256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

// batch asks where the contents go. The reply names exactly the files asked about.
func (c *Client) batch(ctx context.Context, r Repo, files map[string]*upload) ([]object, error) {
	type file struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	}
	ask := struct {
		Operation string            `json:"operation"`
		Transfers []string          `json:"transfers"`
		HashAlgo  string            `json:"hash_algo"`
		Ref       map[string]string `json:"ref"`
		Objects   []file            `json:"objects"`
	}{Operation: "upload", Transfers: []string{"basic", "multipart"}, HashAlgo: "sha256", Ref: map[string]string{"name": MainRevision}}
	for oid, u := range files {
		ask.Objects = append(ask.Objects, file{oid, u.size})
	}
	text, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	var reply struct {
		Objects []object `json:"objects"`
	}
	header := http.Header{"Accept": {lfsMedia}, "Content-Type": {lfsMedia}}
	if _, err := c.exchange(ctx, http.MethodPost, c.url(r.lfs()), header, text, &reply); err != nil {
		return nil, err
	}
	told := map[string]bool{}
	for _, o := range reply.Objects {
		u := files[o.OID]
		if u == nil || told[o.OID] {
			return nil, fmt.Errorf("%w: where to upload %q was not asked", ErrHostile, clip(o.OID))
		}
		told[o.OID] = true
		if o.Error != nil {
			return nil, fmt.Errorf("upload %s: the Hub says: %s (%d)", u.Path, oneLine(o.Error.Message), o.Error.Code)
		}
	}
	if len(told) != len(files) {
		return nil, fmt.Errorf("%w: it says where to upload %d of %d files", ErrHostile, len(told), len(files))
	}
	return reply.Objects, nil
}

// uploadOne sends one file's contents, in one piece or in parts.
func (c *Client) uploadOne(ctx context.Context, u *upload, a *action, progress Progress) error {
	if err := fromServer(a.Href); err != nil {
		return err
	}
	chunk, ok := a.Header["chunk_size"]
	if !ok {
		header := http.Header{}
		for k, v := range a.Header {
			header.Set(k, v)
		}
		_, err := c.put(ctx, u, a.Href, header, 0, u.size, progress)
		return err
	}
	size, err := strconv.ParseInt(chunk, 10, 64)
	if err != nil || size <= 0 {
		return fmt.Errorf("%w: parts of %q bytes", ErrHostile, clip(chunk))
	}
	addresses := partAddresses(a.Header)
	if want := (u.size + size - 1) / size; int64(len(addresses)) != want {
		return fmt.Errorf("%w: %d addresses for %d parts", ErrHostile, len(addresses), want)
	}
	type done struct {
		PartNumber int    `json:"partNumber"`
		ETag       string `json:"etag"`
	}
	parts := make([]done, len(addresses))
	work, partCtx := errgroup.WithContext(ctx)
	work.SetLimit(filesAtOnce)
	for i := range parts {
		work.Go(func() error {
			address := addresses[i+1]
			if err := fromServer(address); err != nil {
				return err
			}
			from := int64(i) * size
			etag, err := c.put(partCtx, u, address, nil, from, min(from+size, u.size), progress)
			if err == nil && etag == "" {
				err = fmt.Errorf("%w: part %d was stored without a name", ErrHostile, i+1)
			}
			parts[i] = done{i + 1, etag}
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPost, a.Href, map[string]any{"oid": u.sha256, "parts": parts}, nil)
	return err
}

// partAddresses are the addresses of parts 1, 2 ... in the headers of a multipart upload. A number that is missing or
// there twice leaves a hole, which the count or an empty address shows.
func partAddresses(header map[string]string) map[int]string {
	out := map[int]string{}
	for name, address := range header {
		if n, err := strconv.ParseUint(name, 10, 31); err == nil {
			out[int(n)] = address
		}
	}
	return out
}

// put sends bytes [from, to) of a file and returns the ETag that they were stored under.
func (c *Client) put(ctx context.Context, u *upload, address string, header http.Header, from, to int64, progress Progress) (etag string, err error) {
	err = c.retry(ctx, u.Path, func() error {
		f, err := u.open()
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read from
		if _, err := f.Seek(from, io.SeekStart); err != nil {
			return err
		}
		reply, err := c.send(ctx, http.MethodPut, address, header, io.LimitReader(f, to-from), to-from)
		if err != nil {
			return err
		}
		etag = reply.Header.Get("ETag")
		return reply.Body.Close()
	})
	if err == nil {
		progress.Add(to - from)
	}
	return etag, err
}

// fromServer checks an address that a server gave. A relative one, or one of another scheme, is not followed.
func fromServer(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%w: %q is no address to upload to", ErrHostile, clip(address))
	}
	return nil
}
