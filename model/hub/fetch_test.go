package hub

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gorun/model/hub/hubtest"
)

var wholeModel = []string{"config.json", "tokenizer.json", "README.md", "LICENSE", indexFile, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}

func isErr(err, kind error) bool { return errors.Is(err, kind) }

func TestFetchModel(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	got, err := c.Fetch(t.Context(), request(t, model))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, model, got, wholeModel...)
	noPartial(t, c.cfg.Cache)
	if n := count(s, "/resolve/"); n != len(wholeModel) {
		t.Errorf("%d requests to resolve %d files: the content network's address should be asked for once a file", n, len(wholeModel))
	}

	// Again: only the branch is looked at.
	before := len(s.Requests())
	if _, err := c.Fetch(t.Context(), request(t, model)); err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[before:]; len(got) != 1 || !strings.Contains(got[0], "/revision/main") {
		t.Errorf("a second fetch asked for %q", got)
	}
	// Open does not even do that.
	before = len(s.Requests())
	if _, err := c.Open(t.Context(), request(t, model)); err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[before:]; len(got) != 0 {
		t.Errorf("opening what is in the cache asked for %q", got)
	}
}

func TestFetchDatasetAndGlobs(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	got, err := c.Fetch(t.Context(), request(t, dataset))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, dataset, got, "README.md", "plain_text/train-00000-of-00001.parquet", "plain_text/validation-00000-of-00001.parquet")

	r := request(t, model)
	r.Include = []string{"original/", "*.bin"}
	if got, err = c.Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	contains(t, s, model, got, "original/consolidated.00.pth", "pytorch_model.bin")
	r.Include = []string{"*.gguf"}
	_, err = c.Fetch(t.Context(), r)
	says(t, err, nil, `"*.gguf" matches no file`, "config.json")
}

// TestRevisions: a branch is followed by Fetch and held by Open; a tag and a commit are what they were.
func TestRevisions(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	first, err := c.Fetch(t.Context(), request(t, model))
	if err != nil {
		t.Fatal(err)
	}
	s.Tag(model, "v1")
	second := s.Put(model, map[string][]byte{"config.json": []byte(`{"model_type": "qwen2"}`)})
	held, err := c.Open(t.Context(), request(t, model))
	if err != nil || held.Commit != first.Commit {
		t.Errorf("Open gives %+v (%v), not the commit in the cache", held, err)
	}
	moved, err := c.Fetch(t.Context(), request(t, model))
	if err != nil || moved.Commit != second {
		t.Fatalf("Fetch gives %+v (%v), not %s", moved, err, second)
	}
	contains(t, s, model, moved, wholeModel...)
	for _, revision := range []string{"v1", first.Commit} {
		r := request(t, model)
		r.Revision = revision
		if got, err := c.Fetch(t.Context(), r); err != nil || got.Commit != first.Commit {
			t.Errorf("revision %s gives %+v (%v)", revision, got, err)
		}
	}
	if blobs, err := filepath.Glob(filepath.Join(c.cfg.Cache, "models--acme--tiny/blobs/*")); err != nil || len(blobs) != len(wholeModel)+1 {
		t.Errorf("%d blobs (%v): two commits share what did not change", len(blobs), err)
	}
	r := request(t, model)
	r.Revision = "v2"
	_, err = c.Fetch(t.Context(), r)
	says(t, err, ErrNotFound, `no revision "v2"`, s.URL+"/acme/tiny")
	for _, bad := range []string{"../x", "/etc", "a//b", "."} {
		r.Revision = bad
		_, err = c.Fetch(t.Context(), r)
		says(t, err, nil, "is no revision")
	}
}

func TestOffline(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	online, err := c.Fetch(t.Context(), request(t, model))
	if err != nil {
		t.Fatal(err)
	}
	off := client(t, s, "", func(cfg *Config) { cfg.Cache, cfg.Offline = c.cfg.Cache, true })
	before := len(s.Requests())
	for name, open := range map[string]func(context.Context, Request) (*Snapshot, error){"Fetch": off.Fetch, "Open": off.Open} {
		got, err := open(t.Context(), request(t, model))
		if err != nil || got.Path != online.Path {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		_, err = open(t.Context(), request(t, dataset))
		says(t, err, ErrOffline, "not in the cache", off.cfg.Cache, "gorun fetch --dataset acme/questions")
		says(t, err, ErrNotCached)
	}
	if err := os.Remove(filepath.Join(online.Path, "model-00002-of-00002.safetensors")); err != nil {
		t.Fatal(err)
	}
	_, err = off.Open(t.Context(), request(t, model))
	says(t, err, ErrNotCached, "model-00002-of-00002.safetensors", "HF_HUB_OFFLINE")
	if now := len(s.Requests()); now != before {
		t.Errorf("%d requests although offline", now-before)
	}

	// Without the listing of the commit, as older Python left it, the snapshot is taken as it is.
	if err := os.RemoveAll(filepath.Join(off.cfg.Cache, "models--acme--tiny", "trees")); err != nil {
		t.Fatal(err)
	}
	if got, err := off.Open(t.Context(), request(t, model)); err != nil || got.Path != online.Path {
		t.Errorf("without a listing: %+v, %v", got, err)
	}
	// So it is by who may not ask the Hub.
	stranger := client(t, s, "hf_wrong", func(cfg *Config) { cfg.Cache = c.cfg.Cache })
	if got, err := stranger.Open(t.Context(), request(t, model)); err != nil || got.Path != online.Path {
		t.Errorf("with a bad token: %+v, %v", got, err)
	}
	// Online, the same is completed.
	if got, err := c.Open(t.Context(), request(t, model)); err != nil {
		t.Error(err)
	} else {
		contains(t, s, model, got, wholeModel...)
	}
}

// noNames is a network whose name service knows nobody.
type noNames struct{}

func (noNames) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}}
}

// TestUnreachable: what is whole in the cache does, without the Hub.
func TestUnreachable(t *testing.T) {
	s := start(t)
	c := client(t, s, reader)
	online, err := c.Fetch(t.Context(), request(t, model))
	if err != nil {
		t.Fatal(err)
	}
	nowhere := client(t, s, reader, func(cfg *Config) { cfg.Cache, cfg.Endpoint = c.cfg.Cache, "http://hub.invalid" })
	nowhere.http = &http.Client{Transport: noNames{}}
	for state, c := range map[string]*Client{"without a name": nowhere, "there": c} {
		if got, err := c.Fetch(t.Context(), request(t, model)); err != nil || got.Path != online.Path {
			t.Errorf("the Hub is %s: %+v, %v", state, got, err)
		}
	}
	_, err = nowhere.Fetch(t.Context(), request(t, dataset))
	says(t, err, nil, "hub.invalid cannot be reached", "HTTPS_PROXY", "HF_ENDPOINT")
	s.Fault("/revision/", int(c.pace.tries), hubtest.Status(503))
	for _, state := range []string{"in trouble", "gone"} {
		got, err := c.Fetch(t.Context(), request(t, model))
		if err != nil || got.Path != online.Path {
			t.Errorf("the Hub is %s: %+v, %v", state, got, err)
		}
		if state == "in trouble" {
			s.Close()
		}
	}
	_, err = c.Fetch(t.Context(), request(t, dataset))
	says(t, err, nil, "cannot be reached", "HTTPS_PROXY", "HF_ENDPOINT")
}

// TestAccess: who may not have something is told why and what to do.
func TestAccess(t *testing.T) {
	s := start(t)
	login := []string{s.URL + "/settings/tokens", "HF_TOKEN", "hf auth login"}
	tests := []struct {
		name, repo, token string
		kind              error
		words             []string
	}{
		{"gated, no token", gated, "", ErrAccess, append([]string{"gated", "request access at " + s.URL + "/acme/gated"}, login...)},
		{"gated, no grant", gated, reader, ErrAccess, []string{"gated", "the token (from HF_TOKEN) has no access", s.URL + "/acme/gated"}},
		{"gated, granted", gated, granted, nil, nil},
		{"private, no token", private, "", ErrAccess, append([]string{"private or gated"}, login...)},
		{"private, a stranger", private, reader, ErrNotFound, []string{"none of this name that the token's account may see", s.URL + "/acme/private"}},
		{"private, its author", private, author, nil, nil},
		{"none of the name", "models/acme/nothing", reader, ErrNotFound, []string{"check the spelling"}},
		{"wrong token", model, "hf_wrong", ErrAccess, append([]string{"the token from HF_TOKEN is not accepted"}, login...)},
		{"a dataset as a model", "models/acme/questions", reader, ErrNotFound, []string{"the kind (model)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, s, tt.token)
			got, err := c.Fetch(t.Context(), request(t, tt.repo))
			if tt.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				contains(t, s, tt.repo, got, "config.json", "model.safetensors")
				return
			}
			says(t, err, tt.kind, tt.words...)
			if tt.token != "" && strings.Contains(err.Error(), tt.token) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

// TestTogether: of several at once, one downloads and the others wait for it.
func TestTogether(t *testing.T) {
	s := start(t)
	cache := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		c := client(t, s, reader, func(cfg *Config) { cfg.Cache = cache })
		all.Go(func() {
			if _, err := c.Fetch(t.Context(), request(t, model)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := count(s, "/resolve/"); n != len(wholeModel) {
		t.Errorf("%d downloads of %d files", n, len(wholeModel))
	}
	noPartial(t, cache)
}

// TestWrongKindOfModel: a repository that has nothing to train on says what it has instead.
func TestWrongKindOfModel(t *testing.T) {
	s := start(t)
	s.Put("models/acme/pickled", map[string][]byte{"config.json": []byte("{}"), "pytorch_model.bin": {1}})
	s.Put("models/acme/gguf", map[string][]byte{"tiny-Q4_0.gguf": {1}, "tiny-Q8_0.gguf": {2}})
	s.Put("models/acme/nothing", map[string][]byte{"notes.md": {1}})
	s.Put("models/acme/cut", map[string][]byte{"config.json": []byte("{}"), indexFile: []byte(index), "model-00001-of-00002.safetensors": {1}})
	s.Put("datasets/acme/pictures", map[string][]byte{"cat.png": {1}})
	s.Put("models/acme/adapter", map[string][]byte{"adapter_config.json": []byte("{}"), adapterFile: {1}, "optimizer.pt": {2}})
	for name, words := range map[string][]string{
		"models/acme/pickled":    {"pytorch_model.bin", "refs/pr/N"},
		"models/acme/gguf":       {"tiny-Q4_0.gguf, tiny-Q8_0.gguf", "--include"},
		"models/acme/nothing":    {"no weights in safetensors but notes.md", "--dataset"},
		"models/acme/cut":        {"model-00002-of-00002.safetensors, which the repository does not have"},
		"datasets/acme/pictures": {"cat.png", "refs/convert/parquet"},
	} {
		_, err := client(t, s, reader).Fetch(t.Context(), request(t, name))
		says(t, err, nil, words...)
	}
	got, err := client(t, s, reader).Fetch(t.Context(), request(t, "models/acme/adapter"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, "models/acme/adapter", got, "adapter_config.json", adapterFile)
}

// TestMirror: a Hub below a path of a mirror, which hands on links that lead to the Hub itself.
func TestMirror(t *testing.T) {
	s := start(t)
	target, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	mirror := httptest.NewServer(http.StripPrefix("/proxy/hf", httputil.NewSingleHostReverseProxy(target)))
	defer mirror.Close()
	c := client(t, s, granted, func(cfg *Config) { cfg.Endpoint = mirror.URL + "/proxy/hf" })
	for _, name := range []string{model, gated} { // the first has several pages, the second needs the token
		if _, err := c.Fetch(t.Context(), request(t, name)); err != nil {
			t.Error(err)
		}
	}
	if n := count(s, "/tree/"); n < 4 {
		t.Errorf("%d pages", n)
	}
}

// TestTokenStaysHome: the content network is on another port of the same host, and still gets no token.
func TestTokenStaysHome(t *testing.T) {
	s := start(t)
	c := client(t, s, granted)
	if _, err := c.Fetch(t.Context(), request(t, gated)); err != nil { // the test server refuses contents to who sends one
		t.Fatal(err)
	}
	if count(s, "/contents/") == 0 {
		t.Error("the content network was not used")
	}
	s.Fault("/revision/main", 1, hubtest.Status(307, "Location", s.CDN+"/contents/x"))
	_, err := c.Fetch(t.Context(), request(t, gated))
	if err == nil || strings.Contains(err.Error(), "token was sent") {
		t.Errorf("an API call that is sent elsewhere: %v", err)
	}
}
