package hubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Account is who a token stands for.
type Account struct {
	Granted []string // gated repositories that it may read: "models/ORG/NAME"
	Write   bool     // may create and change repositories, and read private ones
}

// Server is a Hub. Change Accounts, PageSize and PartSize before the first request.
type Server struct {
	URL, CDN string             // of the Hub and of the content network
	Accounts map[string]Account // by token
	PageSize int                // entries in a page of a listing
	PartSize int64              // an LFS upload longer than this is in parts

	hub, cdn *httptest.Server

	mu     sync.Mutex
	repos  map[string]*repo  // by "models/ORG/NAME"; protected by mu, and so are those below
	store  map[string][]byte // LFS contents by sha256
	parts  map[string][]byte // parts of uploads under way, by path
	faults []*fault
	log    []string // "METHOD /path" of each request, hub and content network
}

type repo struct {
	private, gated bool
	refs           map[string]string          // branch or tag to commit
	commits        map[string]map[string]file // files by path
	messages       []string
}

type file struct {
	data []byte
	lfs  bool
}

// Option says what a repository is.
type Option func(*repo)

// Gated makes a repository one that only accounts with a grant may read.
func Gated(r *repo) { r.gated = true }

// Private makes a repository one that strangers are not told of.
func Private(r *repo) { r.private = true }

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	s, err := New("127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// New runs a server at two addresses.
func New(hub, cdn string) (*Server, error) {
	s := &Server{
		Accounts: map[string]Account{}, PageSize: 50, PartSize: 5 << 20,
		repos: map[string]*repo{}, store: map[string][]byte{}, parts: map[string][]byte{},
	}
	var err error
	if s.hub, err = listen(hub, s.faulty(s.routes())); err != nil {
		return nil, err
	}
	if s.cdn, err = listen(cdn, s.faulty(http.HandlerFunc(s.serveContents))); err != nil {
		s.hub.Close()
		return nil, err
	}
	s.URL, s.CDN = s.hub.URL, s.cdn.URL
	return s, nil
}

func listen(address string, h http.Handler) (*httptest.Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}} //nolint:gosec // loopback, in tests
	server.Start()
	return server, nil
}

// Close stops the server.
func (s *Server) Close() {
	s.hub.CloseClientConnections()
	s.cdn.CloseClientConnections()
	s.hub.Close()
	s.cdn.Close()
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/{kind}/{org}/{name}", s.info)
	mux.HandleFunc("GET /api/{kind}/{org}/{name}/revision/{revision}", s.info)
	mux.HandleFunc("GET /api/{kind}/{org}/{name}/tree/{revision}", s.tree)
	mux.HandleFunc("POST /api/{kind}/{org}/{name}/preupload/{revision}", s.preupload)
	mux.HandleFunc("POST /api/{kind}/{org}/{name}/commit/{revision}", s.commit)
	mux.HandleFunc("POST /api/repos/create", s.create)
	mux.HandleFunc("GET /", s.resolve) // its pattern would contradict those of the API
	mux.HandleFunc("POST /{org}/{git}/info/lfs/objects/batch", s.batch)
	mux.HandleFunc("POST /lfs/complete/{oid}", s.complete)
	mux.HandleFunc("POST /lfs/verify/{oid}", s.verify)
	return mux
}

// Put makes a commit of files on main of "models/ORG/NAME" or "datasets/ORG/NAME", besides those that are there, and
// returns its id. Files with an extension of binary formats are in LFS.
func (s *Server) Put(name string, files map[string][]byte, options ...Option) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[name]
	if r == nil {
		r = &repo{refs: map[string]string{}, commits: map[string]map[string]file{}}
		s.repos[name] = r
	}
	for _, o := range options {
		o(r)
	}
	added := map[string]file{}
	for p, data := range files {
		added[p] = file{data, inLFS(p)}
	}
	return r.add(added, "put")
}

// Tag gives main's commit another name.
func (s *Server) Tag(name, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[name].refs[tag] = s.repos[name].refs["main"]
}

// Files returns what is on main, and the messages of all commits.
func (s *Server) Files(name string) (files map[string][]byte, messages []string, private bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[name]
	if r == nil {
		return nil, nil, false
	}
	files = map[string][]byte{}
	for p, f := range r.commits[r.refs["main"]] {
		files[p] = f.data
	}
	return files, r.messages, r.private
}

// Requests returns "METHOD /path" of all requests so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// add commits files besides those of main.
func (r *repo) add(files map[string]file, message string) string {
	all := maps.Clone(r.commits[r.refs["main"]])
	if all == nil {
		all = map[string]file{}
	}
	maps.Copy(all, files)
	h := sha1.New()
	fmt.Fprintf(h, "%d %s\n", len(r.messages), message)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%s %s\n", p, all[p].git())
	}
	id := hex.EncodeToString(h.Sum(nil))
	r.commits[id], r.refs["main"] = all, id
	r.messages = append(r.messages, message)
	return id
}

func inLFS(name string) bool {
	return slices.Contains([]string{".safetensors", ".bin", ".parquet", ".gguf", ".gz", ".zst"}, path.Ext(name))
}

func (f file) sha256() string {
	sum := sha256.Sum256(f.data)
	return hex.EncodeToString(sum[:])
}

// git is the id of the blob that git has: of a small pointer, for a file in LFS.
func (f file) git() string {
	data := f.data
	if f.lfs {
		data = f.pointer()
	}
	return hex.EncodeToString(gitHash(data))
}

func (f file) pointer() []byte {
	return fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", f.sha256(), len(f.data))
}

func gitHash(data []byte) []byte {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return h.Sum(nil)
}

func (f file) etag() string {
	if f.lfs {
		return f.sha256()
	}
	return f.git()
}

// refusal is a reply that is not a success.
type refusal struct {
	status        int
	code, message string // X-Error-Code and X-Error-Message
}

func (r *refusal) Error() string { return r.message }

func fail(w http.ResponseWriter, err error) {
	r := &refusal{http.StatusBadRequest, "", err.Error()}
	_ = errors.As(err, &r)
	w.Header().Set("X-Error-Message", r.message)
	if r.code != "" {
		w.Header().Set("X-Error-Code", r.code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	answer(w, map[string]string{"error": r.message})
}

func answer(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	_, _ = w.Write(text) // who is gone gets no answer
}

// account is who asks.
func (s *Server) account(r *http.Request) (a Account, known bool, err error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return Account{}, false, nil
	}
	a, ok = s.Accounts[token]
	if !ok {
		return a, false, &refusal{http.StatusUnauthorized, "", "Invalid credentials in Authorization header"}
	}
	return a, true, nil
}
