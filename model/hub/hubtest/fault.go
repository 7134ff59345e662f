package hubtest

import (
	"net/http"
	"net/http/httptest"
	"strings"
)

// fault is something that goes wrong with some requests.
type fault struct {
	match string // part of "METHOD /path" of the requests that it befalls
	left  int    // how many are still to fail; negative = all
	do    func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// Fault makes the next n requests (all, if n is negative) whose "METHOD /path" contains match go wrong: do answers
// them instead, and may call next to have the right answer.
func (s *Server) Fault(match string, n int, do func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{match, n, do})
}

// Status is a fault: an answer of that status, with headers in pairs.
func Status(status int, headers ...string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
	}
}

// Cut is a fault: the connection breaks after n bytes of the body.
func Cut(n int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		for k, v := range whole.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(whole.Code)
		_, _ = w.Write(whole.Body.Bytes()[:min(n, whole.Body.Len())])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// Change is a fault: the body is another one.
func Change(change func([]byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, r)
		for k, v := range whole.Header() {
			if k != "Content-Length" {
				w.Header()[k] = v
			}
		}
		w.WriteHeader(whole.Code)
		_, _ = w.Write(change(whole.Body.Bytes()))
	}
}

// faulty logs requests and lets faults befall them.
func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + r.URL.Path
		s.mu.Lock()
		s.log = append(s.log, line)
		var hit *fault
		for _, f := range s.faults {
			if f.left != 0 && strings.Contains(line, f.match) {
				f.left--
				hit = f
				break
			}
		}
		s.mu.Unlock()
		if hit != nil {
			hit.do(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}
