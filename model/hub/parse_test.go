package hub

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseRepo(t *testing.T) {
	for _, good := range []string{"gpt2", "meta-llama/Llama-3.2-1B", "a/b", "Foo-BAR_foo.bar123", "1/2.3"} {
		if r, err := ParseRepo(Model, good); err != nil || strings.Contains(r.folder(), "/") {
			t.Errorf("%q: %q, %v", good, r.folder(), err)
		}
	}
	for _, bad := range []string{"", "/", "a/", "/a", "a/b/c", "..", "a/..", "../a", ".a/b", "a--b/c", "a/b..c", "a/b.git", "a b", "a/b\n", "a/" + strings.Repeat("x", 100), "a\\b", "a/b-", "a/b.", "é"} {
		if _, err := ParseRepo(Model, bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	r := Repo{Dataset, "o/n"}
	for got, want := range map[string]string{
		r.folder(): "datasets--o--n", r.page(): "/datasets/o/n", r.api("revision", "refs/pr/1"): "/api/datasets/o/n/revision/refs%2Fpr%2F1",
		r.file("main", "a b/c?d#e%"): "/datasets/o/n/resolve/main/a%20b/c%3Fd%23e%25", r.lfs(): "/datasets/o/n.git/info/lfs/objects/batch",
		Repo{Model, "o/n"}.file("v1", "x"): "/o/n/resolve/v1/x",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, yes, no string
	}{
		{"*.json", "a/b.json", "a.jsonl"},
		{"data/", "data/x/y", "xdata/x"},
		{"a?c", "abc", "ac"},
		{"v[12].txt", "v2.txt", "v3.txt"},
		{"v[!1].txt", "v2.txt", "v1.txt"},
		{"a+(b).c", "a+(b).c", "aab.c"},
	} {
		re, err := glob(tt.pattern)
		if err != nil || !re.MatchString(tt.yes) || re.MatchString(tt.no) {
			t.Errorf("%s: %v, %v", tt.pattern, re, err)
		}
	}
	for _, bad := range []string{"a[", "a[]", "[z-a]"} {
		if _, err := glob(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestChooseModel(t *testing.T) {
	for _, tt := range []struct{ name, have, want string }{
		{"one file", "config.json model.safetensors consolidated.safetensors pytorch_model.bin", "config.json model.safetensors"},
		{"a name of its own", "config.json weights.safetensors consolidated.safetensors", "config.json weights.safetensors"},
		{"an index beside one file", "config.json model.safetensors.index.json model.safetensors", "config.json model.safetensors.index.json"},
		{"an adapter beside a model", "adapter_config.json adapter_model.safetensors model.safetensors", "adapter_config.json adapter_model.safetensors model.safetensors"},
		{"an adapter beside others", "adapter_config.json adapter_model.safetensors optimizer.safetensors", "adapter_config.json adapter_model.safetensors"},
		{"folders", "config.json model.safetensors sub/model.safetensors sub/config.json", "config.json model.safetensors"},
		{"notices", "LICENSE.txt model.safetensors USE_POLICY.md notes.md", "LICENSE.txt model.safetensors USE_POLICY.md"},
	} {
		var all []Entry
		for name := range strings.FieldsSeq(tt.have) {
			all = append(all, Entry{Path: name})
		}
		c, err := chooseModel(all)
		var got []string
		for _, e := range c.entries {
			got = append(got, e.Path)
		}
		want := strings.Fields(tt.want)
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q (%v), want %q", tt.name, got, err, want)
		}
	}
}

func TestConfigFromEnv(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".cache/huggingface/token", "hf_file\n")
	write("bad/token", "two words\n")
	write("empty/token", "\n")
	hub := filepath.Join(home, ".cache/huggingface/hub")
	for _, tt := range []struct {
		name string
		env  map[string]string
		want Config
		says string
	}{
		{"nothing set", nil, Config{Endpoint: DefaultEndpoint, Cache: hub, Token: "hf_file", TokenFrom: filepath.Join(home, ".cache/huggingface/token")}, ""},
		{"token", map[string]string{"HF_TOKEN": " hf_env\n"}, Config{Endpoint: DefaultEndpoint, Cache: hub, Token: "hf_env", TokenFrom: "HF_TOKEN"}, ""},
		{"home", map[string]string{"HF_HOME": "~/x", "HF_HUB_OFFLINE": "yes"}, Config{Endpoint: DefaultEndpoint, Cache: filepath.Join(home, "x/hub"), Offline: true}, ""},
		{"xdg", map[string]string{"XDG_CACHE_HOME": "/c", "HF_HUB_OFFLINE": "0"}, Config{Endpoint: DefaultEndpoint, Cache: "/c/huggingface/hub"}, ""},
		{"cache", map[string]string{"HF_HUB_CACHE": "$HOME/y", "HF_ENDPOINT": "http://mirror/"}, Config{Endpoint: "http://mirror", Cache: filepath.Join(home, "y"), Token: "hf_file", TokenFrom: filepath.Join(home, ".cache/huggingface/token")}, ""},
		{"token path", map[string]string{"HF_TOKEN_PATH": "~/empty/token"}, Config{Endpoint: DefaultEndpoint, Cache: hub}, ""},
		{"no token in the file", map[string]string{"HF_TOKEN_PATH": "~/bad/token"}, Config{}, "is no token"},
		{"no token in the variable", map[string]string{"HF_TOKEN": "a\nb"}, Config{}, "HF_TOKEN holds is no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ConfigFromEnv(func(name string) string {
				if name == "HOME" {
					return home
				}
				return tt.env[name]
			})
			if tt.says != "" {
				says(t, err, nil, tt.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
	for _, bad := range []string{"huggingface.co", "ftp://x", "http://", "https://u:p@x", "https://x?a=b"} {
		_, err := New(Config{Endpoint: bad})
		says(t, err, nil, "HF_ENDPOINT", "is like https://huggingface.co")
	}
}

// FuzzListing: whatever a server or a file in the cache says, an entry that passes stays in its folder and has a hash.
func FuzzListing(f *testing.F) {
	zero := strings.Repeat("0", 40)
	f.Add([]byte(`[{"type": "file", "path": "a/b.json", "size": 3, "oid": "` + zero + `"}, {"type": "directory", "path": "a"}]`))
	f.Add([]byte(`[{"type": "file", "path": "w.safetensors", "size": 1, "oid": "` + zero + `", "lfs": {"oid": "` + strings.Repeat("1", 64) + `", "size": 9}}]`))
	f.Add([]byte(`[{"type": "file", "path": "../x", "size": 3, "oid": "` + zero + `"}]`))
	f.Add([]byte(`{"format_version": 1, "files": {"a/../../b": {"size": 1, "blob_id": "` + zero + `"}}}`))
	f.Add([]byte(`{"format_version": 1, "files": {"a": {"size": 1, "blob_id": "` + zero + `", "lfs_sha256": "` + strings.Repeat("2", 64) + `", "lfs_size": 5}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, parse := range []func([]byte) ([]Entry, error){parseTree, parseTreeFile} {
			entries, err := parse(text)
			if err != nil {
				continue
			}
			root := filepath.FromSlash("/cache/snapshots/c")
			for _, e := range entries {
				at := filepath.Join(root, filepath.FromSlash(e.Path))
				if !strings.HasPrefix(at, root+string(filepath.Separator)) || !filepath.IsLocal(e.Path) || e.Size < 0 {
					t.Errorf("%+v passes", e)
				}
				if n := len(e.etag()); n != 40 && n != 64 || strings.ContainsAny(e.etag(), "/.") {
					t.Errorf("%+v has no hash", e)
				}
			}
		}
	})
}

// TestTreeFile: a listing survives the cache.
func TestTreeFile(t *testing.T) {
	f := folder{dir: t.TempDir()}
	want := []Entry{
		{Path: "a.json", Size: 3, Git: strings.Repeat("a", 40)},
		{Path: "w.safetensors", Size: 1 << 40, Git: strings.Repeat("b", 40), SHA256: strings.Repeat("c", 64), Xet: strings.Repeat("d", 64)},
	}
	if err := f.writeTree("commit", want); err != nil {
		t.Fatal(err)
	}
	got, ok := f.readTree("commit")
	if !ok || !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"", "{", `{"format_version": 2, "files": {}}`, `{"format_version": 1, "files": {"../a": {"size": 1, "blob_id": "` + strings.Repeat("a", 40) + `"}}}`} {
		if err := os.WriteFile(f.treePath("commit"), []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, ok := f.readTree("commit"); ok {
			t.Errorf("%q passes", bad)
		}
	}
}
