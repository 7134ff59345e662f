package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gorun/model/hub/hubtest"
)

// Tokens of the test server.
const (
	reader  = "hf_reader"  // may read what is public
	granted = "hf_granted" // and the gated model
	author  = "hf_author"  // may write
)

const (
	model   = "models/acme/tiny"
	dataset = "datasets/acme/questions"
	gated   = "models/acme/gated"
	private = "models/acme/private"
)

// bytesOf makes n bytes that no compression and no zero page could stand for.
func bytesOf(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

const index = `{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}`

// start runs a Hub with some repositories.
func start(t *testing.T) *hubtest.Server {
	t.Helper()
	s := hubtest.Start(t)
	s.PageSize = 4
	s.Accounts = map[string]hubtest.Account{reader: {}, granted: {Granted: []string{gated}}, author: {Write: true}}
	s.Put(model, map[string][]byte{
		"config.json": []byte(`{"model_type": "llama"}`), "tokenizer.json": []byte("{}"), "README.md": []byte("---\nlicense: mit\n---\n"),
		indexFile: []byte(index), "model-00001-of-00002.safetensors": bytesOf(100_000, 1), "model-00002-of-00002.safetensors": bytesOf(33_333, 2),
		"pytorch_model.bin": bytesOf(10, 3), "original/consolidated.00.pth": bytesOf(10, 4), "onnx/model.onnx": bytesOf(10, 5),
		"consolidated.safetensors": bytesOf(10, 6), "LICENSE": []byte("MIT"), "empty.txt": nil,
	})
	s.Put(dataset, map[string][]byte{
		"README.md": []byte("data"), "plain_text/train-00000-of-00001.parquet": bytesOf(5000, 7),
		"plain_text/validation-00000-of-00001.parquet": bytesOf(400, 8), "load.py": []byte("import os"), ".hidden/x.json": []byte("{}"),
	})
	s.Put(gated, map[string][]byte{"config.json": []byte("{}"), "model.safetensors": bytesOf(3000, 9)}, hubtest.Gated)
	s.Put(private, map[string][]byte{"config.json": []byte("{}"), "model.safetensors": bytesOf(3000, 10)}, hubtest.Private)
	return s
}

// client is a client of the server with a cache of its own, parts of a few KiB, and little patience.
func client(t *testing.T, s *hubtest.Server, token string, change ...func(*Config)) *Client {
	t.Helper()
	cfg := Config{Endpoint: s.URL, Cache: t.TempDir(), Token: token, TokenFrom: "HF_TOKEN", Log: zerolog.New(zerolog.NewTestWriter(t))}
	for _, f := range change {
		f(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.part = 7000
	c.pace = pace{tries: 3, wait: time.Millisecond, maxWait: 3 * time.Second}
	t.Cleanup(c.Close)
	return c
}

// request asks for "models/ORG/NAME" or "datasets/ORG/NAME".
func request(t *testing.T, name string) Request {
	t.Helper()
	kind, id, _ := strings.Cut(name, "/")
	r, err := ParseRepo(Kind(strings.TrimSuffix(kind, "s")), id)
	if err != nil {
		t.Fatal(err)
	}
	return Request{Repo: r}
}

// contains checks a snapshot's files against the server's.
func contains(t *testing.T, s *hubtest.Server, name string, got *Snapshot, want ...string) {
	t.Helper()
	if missing, extra := difference(want, got.Files), difference(got.Files, want); len(missing)+len(extra) > 0 {
		t.Errorf("the snapshot lacks %q and has %q besides", missing, extra)
	}
	files, _, _ := s.Files(name)
	for _, file := range want {
		text, err := os.ReadFile(filepath.Join(got.Path, filepath.FromSlash(file)))
		if err != nil || !bytes.Equal(text, files[file]) {
			t.Errorf("%s: %d bytes (%v), not the server's %d", file, len(text), err, len(files[file]))
		}
	}
}

func difference(a, b []string) (out []string) {
	for _, x := range a {
		if !strings.Contains("\n"+strings.Join(b, "\n")+"\n", "\n"+x+"\n") {
			out = append(out, x)
		}
	}
	return out
}

// says checks that an error is of a kind and in words.
func says(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
	if kind != nil && !isErr(err, kind) {
		t.Errorf("%v is not %v", err, kind)
	}
}

// count is how many requests of the server contain what.
func count(s *hubtest.Server, what string) (n int) {
	for _, line := range s.Requests() {
		if strings.Contains(line, what) {
			n++
		}
	}
	return n
}

// noPartial checks that no download is left half done.
func noPartial(t *testing.T, cache string) {
	t.Helper()
	for _, pattern := range []string{"*/blobs/*.incomplete", "*/blobs/*.tmp", "*/refs/*.tmp", "*/trees/*.tmp"} {
		if found, err := filepath.Glob(filepath.Join(cache, pattern)); err != nil || found != nil {
			t.Errorf("left behind: %q (%v)", found, err)
		}
	}
}

// flood is a fault: a body without end.
func flood(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	for range 1000 {
		if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
			return
		}
	}
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
