package hub

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gorun/model/hub/hubtest"
)

func TestPublish(t *testing.T) {
	s := start(t)
	s.PartSize = 20_000
	weights := bytesOf(130_000, 20)
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, weights, 0o644); err != nil {
		t.Fatal(err)
	}
	c := client(t, s, author)
	repo := Repo{Model, "acme/mine"}
	s.Fault("PUT /upload/", 2, hubtest.Status(500)) // it is tried again
	p := Publication{Repo: repo, Private: true, Message: "step 120", Files: []Upload{
		{Path: "README.md", Data: []byte("# mine\n")}, {Path: adapterFile, From: path}, {Path: "small.safetensors", Data: []byte("abc")}, {Path: "empty.safetensors"},
	}}
	got, err := c.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	files, messages, private := s.Files("models/acme/mine")
	if !private || got.URL != s.URL+"/acme/mine" || !slices.Contains(messages, "step 120") {
		t.Errorf("private %v, %+v, %q", private, got, messages)
	}
	if !bytes.Equal(files[adapterFile], weights) || string(files["README.md"]) != "# mine\n" || string(files["small.safetensors"]) != "abc" || len(files) != 5 {
		t.Errorf("%d files", len(files))
	}

	// Again with another card: the weights are there already.
	before := count(s, "PUT /upload/")
	p.Files[0].Data = []byte("# mine, again\n")
	if _, err := c.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if n := count(s, "PUT /upload/") - before; n != 0 {
		t.Errorf("%d uploads of what was there", n)
	}
	// And what was published can be fetched.
	r := request(t, "models/acme/mine")
	r.Include = []string{"*"}
	snapshot, err := c.Fetch(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, s, "models/acme/mine", snapshot, ".gitattributes", "README.md", adapterFile, "small.safetensors", "empty.safetensors")
}

func TestPublishRefused(t *testing.T) {
	const name = "models/acme/mine"
	file := []Upload{{Path: "a.safetensors", Data: bytesOf(100, 1)}}
	tests := []struct {
		name  string
		token string
		make  func(s *hubtest.Server, p *Publication)
		kind  error
		words []string
	}{
		{"no token", "", nil, ErrAccess, []string{"write access", "/settings/tokens", "HF_TOKEN"}},
		{"a token that may not", reader, nil, ErrAccess, []string{"does not permit", "You don't have the rights"}},
		{"a wrong token", "hf_wrong", nil, ErrAccess, []string{"not accepted"}},
		{"no organization", author, func(_ *hubtest.Server, p *Publication) { p.Repo.ID = "mine" }, nil, []string{"ORG/NAME"}},
		{"public already", author, func(s *hubtest.Server, p *Publication) { s.Put(name, nil); p.Private = true }, nil, []string{"it is public", "nothing was uploaded"}},
		{"a bad name", author, func(_ *hubtest.Server, p *Publication) { p.Files = []Upload{{Path: "../x"}} }, nil, []string{`"../x"`}},
		{"a name twice", author, func(_ *hubtest.Server, p *Publication) { p.Files = append(file, file...) }, nil, []string{"twice"}},
		{"no such file", author, func(_ *hubtest.Server, p *Publication) { p.Files = []Upload{{Path: "x", From: "/nonexistent"}} }, os.ErrNotExist, nil},
		{"uploads fail", author, func(s *hubtest.Server, _ *Publication) { s.Fault("PUT /upload/", -1, hubtest.Status(500)) }, nil, []string{"upload a.safetensors", "500"}},
		{"what was stored is not it", author, func(s *hubtest.Server, _ *Publication) {
			s.Fault("PUT /upload/", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body, r.ContentLength = http.NoBody, 0
				next.ServeHTTP(w, r)
			})
		}, nil, []string{"verify a.safetensors", "not the file"}},
		{"an upload to a file", author, fault("/batch", reply(`{"objects": [{"oid": "`+sha256Of(bytesOf(100, 1))+`", "actions": {"upload": {"href": "file:///etc/passwd"}}}]}`)), ErrHostile, []string{"no address"}},
		{"an upload that was not asked for", author, fault("/batch", reply(`{"objects": [{"oid": "x"}]}`)), ErrHostile, []string{"was not asked"}},
		{"an upload forgotten", author, fault("/batch", reply(`{"objects": []}`)), ErrHostile, []string{"0 of 1"}},
		{"too many parts", author, fault("/batch", reply(`{"objects": [{"oid": "`+sha256Of(bytesOf(100, 1))+`", "actions": {"upload": {"href": "http://x", "header": {"chunk_size": "60", "1": "http://x"}}}}]}`)), ErrHostile, []string{"1 addresses for 2 parts"}},
		{"an error for a file", author, fault("/batch", reply(`{"objects": [{"oid": "`+sha256Of(bytesOf(100, 1))+`", "error": {"code": 507, "message": "no\nquota"}}]}`)), nil, []string{"upload a.safetensors: the Hub says: no quota (507)"}},
		{"no word about a file", author, fault("/preupload/", reply(`{"files": []}`)), ErrHostile, []string{"how to send a.safetensors"}},
		{"ignored", author, fault("/preupload/", reply(`{"files": [{"path": "a.safetensors", "uploadMode": "lfs", "shouldIgnore": true}]}`)), nil, []string{".gitignore"}},
		{"the commit fails", author, fault("/commit/", hubtest.Status(412, "X-Error-Message", "a commit has happened since")), nil, []string{"a commit has happened since"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t)
			p := Publication{Repo: Repo{Model, "acme/mine"}, Message: "m", Files: slices.Clone(file)}
			if tt.make != nil {
				tt.make(s, &p)
			}
			_, err := client(t, s, tt.token).Publish(t.Context(), p)
			says(t, err, tt.kind, append(tt.words, "publish")...)
			if files, _, _ := s.Files(name); files["a.safetensors"] != nil {
				t.Error("something was published")
			}
		})
	}
	offline := client(t, start(t), author, func(c *Config) { c.Offline = true })
	_, err := offline.Publish(t.Context(), Publication{Repo: Repo{Model, "acme/mine"}})
	says(t, err, ErrOffline)
}

func fault(match string, do func(http.ResponseWriter, *http.Request, http.Handler)) func(*hubtest.Server, *Publication) {
	return func(s *hubtest.Server, _ *Publication) { s.Fault(match, -1, do) }
}
