package device

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cache keeps serialized executables on disk, one file each, named by the hash of everything that they depend on: the
// program, its options, the plugin, the device and the host's instruction set. It only ever saves time: a file that
// cannot be read or written is as good as absent. A nil cache is empty.
type cache struct {
	dir      string
	identity string
}

// magic heads each file, followed by the SHA-256 of the rest, so that a torn file is never loaded.
const magic = "gorun executable 1\n"

func newCache(dir, identity string) *cache { return &cache{dir, identity} }

func (c *cache) key(code, options []byte) string {
	if c == nil {
		return ""
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(c.identity), options, code} {
		n := sha256.Sum256(part)
		h.Write(n[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *cache) path(key string) string { return filepath.Join(c.dir, key[:2], key) }

func (c *cache) get(key string) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	b, err := os.ReadFile(c.path(key))
	if err != nil {
		return nil, false
	}
	body, ok := strings.CutPrefix(string(b), magic)
	if !ok || len(body) < sha256.Size {
		return nil, false
	}
	want, data := body[:sha256.Size], []byte(body[sha256.Size:])
	got := sha256.Sum256(data)
	return data, string(got[:]) == want
}

func (c *cache) drop(key string) { _ = os.Remove(c.path(key)) }

// put writes beside and renames, so that another process never sees half a file. Failure costs the next start a
// compile and nothing else.
func (c *cache) put(key string, data []byte) {
	path := c.path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return
	}
	sum := sha256.Sum256(data)
	_, err = f.Write(slices.Concat([]byte(magic), sum[:], data))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
}

// hostFeatures identifies the instruction set: CPU executables are compiled for the very processor.
func hostFeatures() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "model name") || strings.HasPrefix(line, "flags") || strings.HasPrefix(line, "Features") {
			out = append(out, line)
		}
		if len(out) == 2 {
			break
		}
	}
	return strings.Join(out, "")
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
