package hubtest

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// at finds a repository and a commit, and refuses who may not see them. contents tells whether files are asked for: of
// a gated repository, everybody may see that it is there.
func (s *Server) at(r *http.Request, contents bool) (name string, re *repo, commit string, err error) {
	kind := r.PathValue("kind")
	if kind == "" {
		kind = "models"
	}
	name = kind + "/" + r.PathValue("org") + "/" + r.PathValue("name")
	who, known, err := s.account(r)
	if err != nil {
		return name, nil, "", err
	}
	re = s.repos[name]
	switch {
	case re == nil || re.private && !who.Write:
		if !known {
			return name, nil, "", &refusal{http.StatusUnauthorized, "RepoNotFound", "Invalid username or password."}
		}
		return name, nil, "", &refusal{http.StatusNotFound, "RepoNotFound", "Repository not found"}
	case re.gated && contents && !known:
		return name, nil, "", &refusal{http.StatusUnauthorized, "GatedRepo", "Access to " + name + " is restricted. You must have access to it and be authenticated to access it. Please log in."}
	case re.gated && contents && !slices.Contains(who.Granted, name):
		return name, nil, "", &refusal{http.StatusForbidden, "GatedRepo", "Access to " + name + " is restricted and you are not in the authorized list."}
	}
	revision := r.PathValue("revision")
	if revision == "" {
		revision = "main"
	}
	commit = revision
	if c, ok := re.refs[revision]; ok {
		commit = c
	}
	if _, ok := re.commits[commit]; !ok {
		return name, re, "", &refusal{http.StatusNotFound, "RevisionNotFound", "Invalid rev id: " + revision}
	}
	return name, re, commit, nil
}

func (s *Server) info(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, re, commit, err := s.at(r, false)
	if err != nil {
		fail(w, err)
		return
	}
	_, id, _ := strings.Cut(name, "/")
	var siblings []map[string]string
	for _, p := range slices.Sorted(maps.Keys(re.commits[commit])) {
		siblings = append(siblings, map[string]string{"rfilename": p})
	}
	gated := any(false)
	if re.gated {
		gated = "manual"
	}
	answer(w, map[string]any{"id": id, "sha": commit, "private": re.private, "gated": gated, "disabled": false, "siblings": siblings, "tags": []string{}})
}

// tree lists a commit in pages, as ?cursor= says.
func (s *Server) tree(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, re, commit, err := s.at(r, false)
	if err != nil {
		fail(w, err)
		return
	}
	files := re.commits[commit]
	names := slices.Sorted(maps.Keys(files))
	start, _ := strconv.Atoi(r.URL.Query().Get("cursor")) // none is 0
	if end := start + s.PageSize; end < len(names) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&expand=false&cursor=%d>; rel="next"`, s.URL, r.URL.EscapedPath(), end))
		names = names[:end]
	}
	items := []map[string]any{}
	for _, p := range names[min(start, len(names)):] {
		f := files[p]
		item := map[string]any{"type": "file", "path": p, "oid": f.git(), "size": len(f.data)}
		if f.lfs {
			item["lfs"] = map[string]any{"oid": f.sha256(), "size": len(f.data), "pointerSize": len(f.pointer())}
		}
		items = append(items, item)
	}
	if start == 0 {
		items = append(items, map[string]any{"type": "directory", "path": "a-folder", "oid": strings.Repeat("0", 40), "size": 0})
	}
	answer(w, items)
}

var resolvePath = regexp.MustCompile(`^/(?:(datasets)/)?([^/]+)/([^/]+)/resolve/([^/]+)/(.+)$`)

// resolve sends a file, or to the content network if it is in LFS.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := resolvePath.FindStringSubmatch(r.URL.EscapedPath())
	if m == nil {
		http.NotFound(w, r)
		return
	}
	for i, name := range []string{"kind", "org", "name", "revision", "path"} {
		value, err := url.PathUnescape(m[i+1])
		if err != nil {
			fail(w, err)
			return
		}
		r.SetPathValue(name, value)
	}
	_, re, commit, err := s.at(r, true)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	f, ok := re.commits[commit][r.PathValue("path")]
	if !ok {
		fail(w, &refusal{http.StatusNotFound, "EntryNotFound", "Entry not found"})
		return
	}
	if f.lfs {
		s.store[f.sha256()] = f.data
		w.Header().Set("X-Linked-Etag", `"`+f.etag()+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(f.data)))
		w.Header().Set("Location", s.CDN+"/contents/"+f.sha256()+"?"+url.Values{"Signature": {"secret"}}.Encode())
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("ETag", `"`+f.etag()+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}

// serveContents is the content network: GET of contents, PUT of uploads. A token has no business here.
func (s *Server) serveContents(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		http.Error(w, "the Hub's token was sent to the content network", http.StatusBadRequest)
		return
	}
	if r.URL.Query().Get("Signature") != "secret" {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPut {
		s.putPart(w, r)
		return
	}
	s.mu.Lock()
	data, ok := s.store[strings.TrimPrefix(r.URL.Path, "/contents/")]
	s.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"contents"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}
