package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// treeFile is trees/COMMIT.json: a commit's listing, as huggingface_hub 2.4 (_tree_cache.py) keeps it. A commit never
// changes, so neither does its listing.
type treeFile struct {
	FormatVersion int                  `json:"format_version"`
	Files         map[string]treeEntry `json:"files"`
}

type treeEntry struct {
	Size      int64  `json:"size"`
	BlobID    string `json:"blob_id"`
	LFSSHA256 string `json:"lfs_sha256,omitempty"`
	LFSSize   int64  `json:"lfs_size,omitempty"`
	XetHash   string `json:"xet_hash,omitempty"`
}

const (
	treeVersion = 1
	maxTree     = 256 << 20 // bytes of the file: some million entries
)

func (f folder) treePath(commit string) string {
	return filepath.Join(f.dir, "trees", commit+".json")
}

// readTree returns a commit's listing from the cache. ok is false if it is not there or of no use, in which case the
// Hub can be asked.
func (f folder) readTree(commit string) (entries []Entry, ok bool) {
	file, err := os.Open(f.treePath(commit))
	if err != nil {
		return nil, false
	}
	defer file.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(io.LimitReader(file, maxTree))
	if err != nil {
		return nil, false
	}
	entries, err = parseTreeFile(text)
	return entries, err == nil
}

// parseTreeFile reads a cached listing. It is checked like one from the network: others may write to the cache.
func parseTreeFile(text []byte) ([]Entry, error) {
	var t treeFile
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, err
	}
	if t.FormatVersion != treeVersion {
		return nil, fmt.Errorf("format %d", t.FormatVersion)
	}
	entries := make([]Entry, 0, len(t.Files))
	for path, x := range t.Files {
		e := Entry{Path: path, Size: x.Size, Git: x.BlobID, SHA256: x.LFSSHA256, Xet: x.XetHash}
		if e.SHA256 != "" {
			e.Size = x.LFSSize
		}
		if err := e.check(); err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, checkUnique(entries)
}

// writeTree keeps a commit's listing.
func (f folder) writeTree(commit string, entries []Entry) error {
	text, err := encodeTree(entries)
	if err != nil {
		return err
	}
	return replaceFile(f.treePath(commit), text)
}

// encodeTree is a listing as the cache keeps it, and as nodes give it to each other.
func encodeTree(entries []Entry) ([]byte, error) {
	t := treeFile{treeVersion, make(map[string]treeEntry, len(entries))}
	for _, e := range entries {
		x := treeEntry{Size: e.Size, BlobID: e.Git, LFSSHA256: e.SHA256, XetHash: e.Xet}
		if e.SHA256 != "" {
			x.LFSSize = e.Size
		}
		t.Files[e.Path] = x
	}
	return json.MarshalIndent(t, "", " ")
}
