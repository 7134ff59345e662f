package hubtest

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// writer refuses who may not write.
func (s *Server) writer(r *http.Request) error {
	who, known, err := s.account(r)
	switch {
	case err != nil:
		return err
	case !known:
		return &refusal{http.StatusUnauthorized, "", "Invalid username or password."}
	case !who.Write:
		return &refusal{http.StatusForbidden, "", "You don't have the rights to create or change a model under this namespace"}
	}
	return nil
}

func decode(r *http.Request, into any) error {
	return json.NewDecoder(io.LimitReader(r.Body, 64<<20)).Decode(into)
}

// asked reads what someone who may write asks for; otherwise it answers, and returns false.
func (s *Server) asked(w http.ResponseWriter, r *http.Request, ask any) bool {
	err := s.writer(r)
	if err == nil {
		err = decode(r, ask)
	}
	if err != nil {
		fail(w, err)
	}
	return err == nil
}

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ask struct{ Type, Organization, Name, Visibility string }
	if !s.asked(w, r, &ask) {
		return
	}
	if ask.Name == "" {
		fail(w, &refusal{http.StatusBadRequest, "", "name is missing"})
		return
	}
	if ask.Type == "" {
		ask.Type = "model"
	}
	name := ask.Type + "s/" + ask.Organization + "/" + ask.Name
	if s.repos[name] != nil {
		fail(w, &refusal{http.StatusConflict, "", "You already created this " + ask.Type + " repo"})
		return
	}
	re := &repo{private: ask.Visibility == "private", refs: map[string]string{}, commits: map[string]map[string]file{}}
	re.add(map[string]file{".gitattributes": {data: []byte("*.safetensors filter=lfs\n")}}, "initial commit")
	s.repos[name] = re
	answer(w, map[string]string{"url": s.URL + "/" + ask.Organization + "/" + ask.Name})
}

func (s *Server) preupload(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ask struct {
		Files []struct {
			Path, Sample string
			Size         int64
		}
	}
	if !s.asked(w, r, &ask) {
		return
	}
	files := []map[string]any{}
	for _, f := range ask.Files {
		mode := "regular"
		if inLFS(f.Path) {
			mode = "lfs"
		}
		files = append(files, map[string]any{"path": f.Path, "uploadMode": mode, "shouldIgnore": false, "oid": nil})
	}
	answer(w, map[string]any{"files": files})
}

// batch is Git LFS's: an upload action for each file that is not there.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ask struct {
		Objects []struct {
			OID  string
			Size int64
		}
	}
	if !s.asked(w, r, &ask) {
		return
	}
	objects := []map[string]any{}
	for _, o := range ask.Objects {
		object := map[string]any{"oid": o.OID, "size": o.Size}
		if _, ok := s.store[o.OID]; !ok {
			object["actions"] = s.actions(o.OID, o.Size)
		}
		objects = append(objects, object)
	}
	answer(w, map[string]any{"transfer": "multipart", "objects": objects})
}

func (s *Server) actions(oid string, size int64) map[string]any {
	verify := map[string]any{"href": s.URL + "/lfs/verify/" + oid}
	if size <= s.PartSize {
		upload := map[string]any{"href": s.CDN + "/upload/" + oid + "/1?Signature=secret"}
		return map[string]any{"upload": upload, "verify": verify}
	}
	header := map[string]string{"chunk_size": fmt.Sprint(s.PartSize)}
	for n := int64(0); n*s.PartSize < size; n++ {
		header[fmt.Sprintf("%05d", n+1)] = fmt.Sprintf("%s/upload/%s/%d?Signature=secret", s.CDN, oid, n+1)
	}
	return map[string]any{"upload": map[string]any{"href": s.URL + "/lfs/complete/" + oid, "header": header}, "verify": verify}
}

func (s *Server) putPart(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil || int64(len(data)) != r.ContentLength {
		http.Error(w, "cut", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts[strings.TrimPrefix(r.URL.Path, "/upload/")] = data
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, gitHash(data)))
}

// complete puts the parts of an upload together.
func (s *Server) complete(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ask struct {
		OID   string
		Parts []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := decode(r, &ask); err != nil {
		fail(w, err)
		return
	}
	var data []byte
	for i, p := range ask.Parts {
		part := s.parts[fmt.Sprintf("%s/%d", ask.OID, p.PartNumber)]
		if p.PartNumber != i+1 || p.ETag != fmt.Sprintf(`"%x"`, gitHash(part)) {
			fail(w, fmt.Errorf("part %d is not what was uploaded", p.PartNumber))
			return
		}
		data = append(data, part...)
	}
	if (file{data: data}).sha256() != r.PathValue("oid") {
		fail(w, fmt.Errorf("the parts are not the file"))
		return
	}
	s.parts[ask.OID+"/1"] = data
}

// verify takes an upload into the store if it has the hash that was announced.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oid := r.PathValue("oid")
	data := s.parts[oid+"/1"]
	if (file{data: data}).sha256() != oid {
		fail(w, fmt.Errorf("what was uploaded is not the file"))
		return
	}
	s.store[oid] = data
}

// commit takes JSON lines: a header, then files.
func (s *Server) commit(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writer(r); err != nil {
		fail(w, err)
		return
	}
	name, re, _, err := s.at(r, false)
	if err != nil {
		fail(w, err)
		return
	}
	message, files, err := s.readCommit(r.Body)
	if err != nil {
		fail(w, err)
		return
	}
	id := re.add(files, message)
	answer(w, map[string]any{"success": true, "commitOid": id, "commitUrl": s.URL + "/" + strings.TrimPrefix(name, "models/") + "/commit/" + id})
}

func (s *Server) readCommit(body io.Reader) (message string, files map[string]file, err error) {
	files = map[string]file{}
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var line struct {
			Key   string
			Value struct{ Summary, Path, Content, OID string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return "", nil, err
		}
		v := line.Value
		switch line.Key {
		case "header":
			message = v.Summary
		case "file":
			data, err := base64.StdEncoding.DecodeString(v.Content)
			if err != nil {
				return "", nil, err
			}
			files[v.Path] = file{data: data}
		case "lfsFile":
			data, ok := s.store[v.OID]
			if !ok {
				return "", nil, fmt.Errorf("%s was not uploaded", v.Path)
			}
			files[v.Path] = file{data, true}
		default:
			return "", nil, fmt.Errorf("a line of kind %q", line.Key)
		}
	}
	return message, files, lines.Err()
}
